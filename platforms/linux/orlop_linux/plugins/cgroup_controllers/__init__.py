"""The families of ``linux.resources``, one module each, with the forms of cgroup v1 and v2 side by side.

Each module has ``problems(part, ...)`` and ``steps(part, ...)``, both pure. A value whose form on one version
is an empty tuple needs nothing there; ``None`` says that the version cannot express it, and the step is an
error on such a host (config-linux.md: "If the conversion is not possible the runtime MUST generate an
error").
"""
