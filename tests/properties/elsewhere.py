"""Properties whose effect is not read by a case, and the tests that prove it.

Either the effect is more than one look can tell, or no kernel of ours has it and a model stands in for it.
"""

from __future__ import annotations

_PLAN = "tests/unit/plugins/test_intel_rdt.py"
_LISTENER = "tests/linux/child/test_listener.py"
_SECCOMP = "tests/unit/plugins/test_seccomp.py"
_RDT = "tests/unit/linux_kernel/test_resctrl.py"
_SECURITY = "tests/linux/child/test_security.py"
_TERMINAL = "tests/linux/child/test_terminal.py"
_WRITE = "tests/unit/plugins/test_resources.py"
_ABIS = "tests/linux/child/test_seccomp_abis.py"
_OPTIONS = "tests/linux/init/test_mount_options.py"
_EFFECTS = "tests/linux/kernel/test_mount_effects.py"

TESTS: dict[str, tuple[str, ...]] = {
    # The cases show that a hook with a timeout runs; these, that it does not run for longer.
    "hooks.prestart[].timeout": ("rule:a_prestart_hook_that_takes_too_long_fails",),
    "hooks.createRuntime[].timeout": ("rule:a_hook_that_takes_too_long_fails",),
    "hooks.createContainer[].timeout": (
        "rule:a_hook_of_the_container_that_takes_too_long_fails_in_the_same_words",
    ),
    "hooks.startContainer[].timeout": ("rule:a_start_container_hook_that_takes_too_long_fails",),
    "hooks.poststart[].timeout": ("rule:a_poststart_hook_that_takes_too_long_fails",),
    "hooks.poststop[].timeout": ("rule:a_poststop_hook_that_takes_too_long_is_ended",),
    # One case has some of the options.
    "mounts[].options[]": (
        f"{_OPTIONS}::test_each_attribute_of_a_bind_mount",
        f"{_OPTIONS}::test_each_attribute_of_a_new_file_system",
        f"{_OPTIONS}::test_each_flag_of_a_new_file_system",
        f"{_OPTIONS}::test_each_propagation",
    ),
    # The case has one of the four.
    "linux.rootfsPropagation": (
        f"{_EFFECTS}::test_what_the_host_mounts_later_in_the_root",
        f"{_EFFECTS}::test_without_pivot_root_all_is_the_same",
    ),
    # The cases show that the limit is set, and that a filter for all architectures loads.
    "linux.resources.memory.checkBeforeUpdate": (
        "tests/linux/kernel/test_cgroups.py::test_a_limit_below_what_is_in_use_is_refused_by_either_version",
    ),
    "linux.resources.memory.useHierarchy": (f"{_WRITE}::test_memory",),
    "linux.seccomp.architectures[]": (
        f"{_ABIS}::test_calls_by_an_abi_that_the_profile_does_not_list_are_killed",
    ),
    "linux.seccomp.flags[]": (
        "tests/unit/linux_kernel/test_seccomp.py::test_flags_become_bits",
        "tests/unit/linux_kernel/test_seccomp.py::test_flags_with_a_listener",
    ),
    "process.terminal": (f"{_TERMINAL}::test_streams_and_controlling_terminal",),
    "process.consoleSize.height": (f"{_TERMINAL}::test_size",),
    "process.consoleSize.width": (f"{_TERMINAL}::test_size",),
    # The case shows that the first process is left alone.
    "process.execCPUAffinity.initial": (
        "rule:a_process_is_bound_to_the_cpus_of_its_affinity",
        "rule:cpus_that_the_kernel_would_leave_out_are_refused",
    ),
    "process.execCPUAffinity.final": (
        "rule:a_process_is_bound_to_the_cpus_of_its_affinity",
        "rule:cpus_that_the_kernel_would_leave_out_are_refused",
    ),
    # The effects are read in the virtual machine that has SELinux; these tests show more.
    "process.selinuxLabel": (
        f"{_SECURITY}::test_the_label_is_enforced",
        f"{_SECURITY}::test_a_label_that_the_policy_does_not_have",
        f"{_SECURITY}::test_a_host_without_selinux_refuses_before_anything_is_touched",
    ),
    "linux.mountLabel": (
        f"{_SECURITY}::test_new_file_systems_have_the_label_of_mounts",
        f"{_SECURITY}::test_a_host_without_selinux_refuses_before_anything_is_touched",
    ),
    # Where a container may make no nodes it gets one of the host.
    **{
        f"linux.devices[].{name}": ("rule:devices_of_the_config_have_its_owner_also_in_a_user_namespace",)
        for name in ("fileMode", "uid", "gid")
    },
    # Kernels since 5.16 have no limit for kernel memory, and since 5.0 no leaf weights.
    "linux.resources.memory.kernel": (
        "tests/unit/linux_kernel/test_write.py::test_a_limit_that_the_kernel_ignores_is_an_error",
        "rule:a_limit_of_kernel_memory_is_applied_or_refused",
    ),
    "linux.resources.blockIO.leafWeight": (f"{_WRITE}::test_block_io_weights",),
    "linux.resources.blockIO.weightDevice[].leafWeight": (f"{_WRITE}::test_block_io_weights",),
    "linux.seccomp.listenerPath": (
        f"{_LISTENER}::test_the_agent_gets_the_state_and_decides",
        f"{_SECCOMP}::test_the_listener_is_ignored_while_nobody_notifies",
    ),
    "linux.seccomp.listenerMetadata": (f"{_LISTENER}::test_the_agent_gets_the_state_and_decides",),
    # The specification knows no flag yet; the list is there to be empty.
    "linux.personality.flags[]": ("tests/unit/plugins/test_traits.py::test_a_personality_that_is_none",),
    "linux.intelRdt.enableCMT": (f"{_PLAN}::test_older_versions_ask_for_events",),
    "linux.intelRdt.enableMBM": (f"{_PLAN}::test_older_versions_ask_for_events",),
    "linux.intelRdt.closID": (
        "rule:a_class_that_was_asked_for_is_made_and_stays",
        "rule:the_default_class_has_a_name",
        f"{_RDT}::test_a_class_with_a_closid_outlives_the_container",
        f"{_RDT}::test_the_root_class_is_never_made",
    ),
    "linux.intelRdt.l3CacheSchema": (f"{_PLAN}::test_lines_are_written_in_the_specified_order",),
    "linux.intelRdt.memBwSchema": (f"{_PLAN}::test_lines_are_written_in_the_specified_order",),
    "linux.intelRdt.schemata[]": (
        "rule:a_class_with_other_schemata_is_refused_and_unchanged",
        f"{_PLAN}::test_lines_are_written_in_the_specified_order",
    ),
    "linux.intelRdt.enableMonitoring": (
        "rule:the_monitoring_group_goes_also_where_the_class_stays",
        f"{_RDT}::test_a_monitoring_group_of_somebody_else_is_an_error_and_stays",
    ),
}
"""Path of the property, and tests as :func:`tests.properties.table.resolve` reads them."""
