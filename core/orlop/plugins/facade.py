"""The hooks as methods: the only place where a plugin's function is called, and where its answer is checked.

Pluggy calls the newest registered plugin first and does not look at results. Here hooks are called in the
declared order, one plain call each, and whatever a plugin raises or returns wrongly becomes an error that
names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import ConfigError, OrlopError, PluginError
from orlop_hookspecs.hooks import capability, commands, lifecycle, live, platform
from orlop_hookspecs.hooks.capability import Adjustment, Handle, Problem, Remark
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from orlop.plugins.verify import Verified
    from orlop_hookspecs.checkpoint import CheckpointOptions, RestoreOptions
    from orlop_hookspecs.documents import Config, IntelRdt, Resources
    from orlop_hookspecs.kernel import LiveKernel, Platform
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.plan import Plan

    Call = Callable[..., Any]

_NOTIFICATIONS = (lifecycle.orlop_created, lifecycle.orlop_started, lifecycle.orlop_deleted)


def resolved(function: Call, wanted: tuple[str, ...], every: tuple[str, ...]) -> Call:
    """Return a function that takes *every* parameter of a hook, for one that has only the *wanted* ones."""
    if wanted == every:
        return function
    places = [every.index(name) for name in wanted]
    if len(every) == _PAIR:  # fixed parameters are faster, and these are the hooks of each create
        return _call_of_two(function, places)
    if not places:
        return lambda *_: function()
    if len(places) == 1:
        only = places[0]
        return lambda *arguments: function(arguments[only])
    pick = itemgetter(*places)
    return lambda *arguments: function(*pick(arguments))


_PAIR = 2


def _call_of_two(function: Call, places: Sequence[int]) -> Call:
    if not places:
        return lambda _first, _second: function()
    if len(places) == _PAIR:
        return lambda first, second: function(second, first)
    if places[0] == 0:
        return lambda first, _second: function(first)
    return lambda _first, second: function(second)


class Hooks:
    """One method per hook; each asks the plugins in their declared order."""

    def __init__(self, plugins: Iterable[Verified], deadline: float | None = None) -> None:
        """Resolve every implementation to a plain call; *deadline*: seconds that one call may take."""
        self._calls: dict[str, list[tuple[str, Call]]] = {}
        for verified in plugins:
            for hook, implementation in verified.implementations.items():
                call = resolved(
                    implementation.function, implementation.parameters, implementation.spec.parameters
                )
                if deadline is not None:
                    from orlop.plugins.deadline import bounded

                    call = bounded(call, deadline)
                self._calls.setdefault(hook, []).append((verified.info.name, call))
        self._keep_often_asked()

    @classmethod
    def of_calls(cls, calls: dict[str, list[tuple[str, Call]]]) -> Self:
        """Return hooks that were resolved before: each to its calls, by plugin, in the plugins' order."""
        made = cls(())
        made._calls = calls
        made._keep_often_asked()
        return made

    def _keep_often_asked(self) -> None:
        self._handles = self._of(capability.orlop_handles)
        self._features = self._of(capability.orlop_features)
        self._adjust = self._of(capability.orlop_adjust)
        self._validate = self._of(capability.orlop_validate)
        self._plan = self._of(capability.orlop_plan)

    def _of(self, spec: Callable[..., Any]) -> list[tuple[str, Call]]:
        return self._calls.get(spec.__name__, [])

    def watch(self, wrap: Callable[[str, str, Call], Call]) -> None:
        """Let *wrap* replace each call; it is given the plugin, the hook and the call."""
        for hook, calls in self._calls.items():
            calls[:] = [(plugin, wrap(plugin, hook, call)) for plugin, call in calls]

    def implementers(self, hook: str) -> tuple[str, ...]:
        """Return the names of the plugins that implement *hook*, in the order in which they are asked."""
        return tuple(name for name, _ in self._calls.get(hook, ()))

    # -- asked once per composition

    def platforms(self) -> list[tuple[str, Platform]]:
        """Ask for platforms."""
        found: list[tuple[str, Platform]] = []
        for plugin, call in self._of(platform.orlop_platform):
            answer: Any = _ask(plugin, platform.orlop_platform, call)
            if answer is None:
                continue
            if not isinstance(getattr(answer, "name", None), str) or not callable(
                getattr(answer, "kernel", None)
            ):
                raise _wrong(plugin, platform.orlop_platform, "a platform with a name and a kernel", answer)
            found.append((plugin, answer))
        return found

    def handles(self) -> list[tuple[str, Sequence[Handle]]]:
        """Ask for the properties that are handled."""
        return [
            (plugin, _sequence(plugin, capability.orlop_handles, Handle, call))
            for plugin, call in self._handles
        ]

    def features(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Ask for the fragments of the features document."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for plugin, call in self._features:
            answer = _ask(plugin, capability.orlop_features, call)
            if answer is None:
                continue
            if not isinstance(answer, Mapping) or not all(isinstance(key, str) for key in answer):
                raise _wrong(plugin, capability.orlop_features, "a mapping with dotted paths as keys", answer)
            found.append((plugin, answer))
        return found

    # -- asked for each config

    def adjust(self, config: Config, context: PlanContext) -> list[tuple[str, Adjustment]]:
        """Ask for changes to the config."""
        found: list[tuple[str, Adjustment]] = []
        for plugin, call in self._adjust:
            answer = _ask(plugin, capability.orlop_adjust, call, config, context, container=context.container)
            if answer is None:
                continue
            if type(answer) is not Adjustment:
                raise _wrong(plugin, capability.orlop_adjust, "an Adjustment", answer, context.container)
            if answer.set or answer.append:
                found.append((plugin, answer))
        return found

    def validate(self, config: Config, context: PlanContext) -> list[tuple[str, Problem]]:
        """Ask for objections."""
        found: list[tuple[str, Problem]] = []
        for plugin, call in self._validate:
            try:
                answer = call(config, context)
            except RAISED as error:
                raise _raised(plugin, capability.orlop_validate, error, context.container) from error
            if answer is None or (not answer and isinstance(answer, list | tuple)):
                continue
            _check_items(plugin, capability.orlop_validate, Problem, answer, context.container)
            found.extend((plugin, problem) for problem in answer)
        return found

    def remark(self, config: Config, context: PlanContext) -> list[tuple[str, Remark]]:
        """Ask for values that have no effect."""
        found: list[tuple[str, Remark]] = []
        for plugin, call in self._of(capability.orlop_remark):
            answer = _ask(plugin, capability.orlop_remark, call, config, context, container=context.container)
            if answer is not None:
                remarks = _check_items(plugin, capability.orlop_remark, Remark, answer, context.container)
                found.extend((plugin, remark) for remark in remarks)
        return found

    def plan(self, config: Config, context: PlanContext) -> list[tuple[str, Sequence[Step]]]:
        """Ask for steps."""
        found: list[tuple[str, Sequence[Step]]] = []
        for plugin, call in self._plan:
            try:
                answer = call(config, context)
            except RAISED as error:
                raise _raised(plugin, capability.orlop_plan, error, context.container) from error
            if answer is None or (not answer and isinstance(answer, list | tuple)):
                continue
            _check_items(plugin, capability.orlop_plan, Step, answer, context.container)
            found.append((plugin, answer))
        return found

    # -- asked for a container that exists

    def update(
        self, resources: Resources, record: Record, intel_rdt: IntelRdt | None = None
    ) -> list[tuple[str, Sequence[Step]]]:
        """Ask for the steps of a change of limits."""
        return [
            (plugin, _sequence(plugin, live.orlop_update, Step, call, resources, record, intel_rdt))
            for plugin, call in self._of(live.orlop_update)
        ]

    def stats(self, record: Record, kernel: LiveKernel) -> dict[str, Any]:
        """Ask for statistics; two plugins with one key are an error."""
        merged: dict[str, Any] = {}
        owners: dict[str, str] = {}
        for plugin, call in self._of(live.orlop_stats):
            answer = _ask(plugin, live.orlop_stats, call, record, kernel, container=record.id)
            if answer is None:
                continue
            if not isinstance(answer, Mapping) or not all(isinstance(key, str) for key in answer):
                raise _wrong(plugin, live.orlop_stats, "a mapping", answer, record.id)
            for key, value in answer.items():
                other = owners.setdefault(key, plugin)
                if other != plugin:
                    raise PluginError(
                        f"{live.orlop_stats.__name__}: plugin {other} reports {key} as well",
                        plugin=plugin,
                        container=record.id,
                    )
                merged[key] = value
        return merged

    def pause(self, record: Record, kernel: LiveKernel) -> None:
        """Tell the plugins that the container will be frozen; when one objects, those before it resume."""
        told: list[tuple[str, Call]] = []
        resumers = dict(self._of(live.orlop_resume))
        for plugin, call in self._of(live.orlop_pause):
            try:
                _nothing(plugin, live.orlop_pause, call, record, kernel, container=record.id)
            except PluginError as error:
                for earlier, _ in reversed(told):
                    if earlier in resumers:
                        try:
                            _nothing(
                                earlier,
                                live.orlop_resume,
                                resumers[earlier],
                                record,
                                kernel,
                                container=record.id,
                            )
                        except PluginError as failure:
                            error.cleanup = error.cleanup or failure
                raise
            told.append((plugin, call))

    def resume(self, record: Record, kernel: LiveKernel) -> None:
        """Tell all plugins, in reverse order, that the container runs again; then raise the first failure."""
        first: PluginError | None = None
        for plugin, call in reversed(self._of(live.orlop_resume)):
            try:
                _nothing(plugin, live.orlop_resume, call, record, kernel, container=record.id)
            except PluginError as error:
                first = first or error
        if first is not None:
            raise first

    def signal(self, record: Record, number: int) -> int:
        """Ask which signal is sent instead of *number*."""
        for plugin, call in self._of(live.orlop_signal):
            answer = _ask(plugin, live.orlop_signal, call, record, number, container=record.id)
            if answer is None:
                continue
            if type(answer) is not int or not 0 <= answer <= _LAST_SIGNAL:
                raise _wrong(
                    plugin, live.orlop_signal, f"a signal from 0 to {_LAST_SIGNAL}", answer, record.id
                )
            return answer
        return number

    def processes(self, record: Record, kernel: LiveKernel) -> list[int] | None:
        """Ask for the processes; ``None`` when no plugin knows better than the kernel."""
        for plugin, call in self._of(live.orlop_ps):
            answer = _ask(plugin, live.orlop_ps, call, record, kernel, container=record.id)
            if answer is None:
                continue
            if not isinstance(answer, list | tuple) or not all(
                type(pid) is int and pid > 0 for pid in answer
            ):
                raise _wrong(plugin, live.orlop_ps, "a sequence of process ids", answer, record.id)
            return sorted(answer)
        return None

    def checkpoint(
        self, plan: Plan, checkpoint: CheckpointOptions, record: Record
    ) -> list[tuple[str, Sequence[Step]]]:
        """Ask what a checkpoint takes."""
        spec = live.orlop_checkpoint
        return [
            (plugin, _sequence(plugin, spec, Step, call, plan, checkpoint, record))
            for plugin, call in self._of(spec)
        ]

    def restore(
        self, plan: Plan, restore: RestoreOptions, config: Config
    ) -> list[tuple[str, Sequence[Step]]]:
        """Ask what a restore takes."""
        spec = live.orlop_restore
        return [
            (plugin, _sequence(plugin, spec, Step, call, plan, restore, config))
            for plugin, call in self._of(spec)
        ]

    # -- told what has happened

    def created(self, state: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        """Tell that a container has been created."""
        self.notify(lifecycle.orlop_created.__name__, state, warn)

    def started(self, state: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        """Tell that the program runs."""
        self.notify(lifecycle.orlop_started.__name__, state, warn)

    def deleted(self, state: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        """Tell that a container is gone."""
        self.notify(lifecycle.orlop_deleted.__name__, state, warn)

    def notify(self, hook: str, state: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        """Call the notification *hook*; a plugin that fails is a warning, and the others are still told."""
        spec = next(spec for spec in _NOTIFICATIONS if spec.__name__ == hook)
        for plugin, call in self._of(spec):
            try:
                _nothing(plugin, spec, call, state, container=str(state.get("id", "")))
            except PluginError as error:
                warn(str(error))

    # -- the command line

    def commands(self, warn: Callable[[str], None]) -> list[tuple[str, Command]]:
        """Ask for commands; a plugin that fails is a warning.

        Raises:
            PluginError: Two plugins add one command.
        """
        owners: dict[str, str] = {}
        found: list[tuple[str, Command]] = []
        for plugin, call in self._of(commands.orlop_commands):
            try:
                answer = _sequence(plugin, commands.orlop_commands, Command, call)
            except PluginError as error:
                warn(str(error))
                continue
            for command in answer:
                other = owners.setdefault(command.name, plugin)
                if other != plugin:
                    raise PluginError(f"plugin {other} adds a command {command.name} as well", plugin=plugin)
                found.append((plugin, command))
        return found


_LAST_SIGNAL = 64


def _ask(
    plugin: str, spec: Callable[..., Any], call: Call, *arguments: object, container: str = ""
) -> object:
    try:
        return call(*map(_own, arguments))
    except RAISED as error:
        raise _raised(plugin, spec, error, container) from error


def _own(argument: object) -> object:
    """Return *argument* as a plugin may have it: what could be changed in place is a copy of its own."""
    if isinstance(argument, dict):
        return _own_items(argument)
    if isinstance(argument, list):
        return [_own(value) for value in argument]
    if isinstance(argument, Record):
        fields = argument.to_data()
        del fields["record"]
        return Record(directory=argument.directory, **_own_items(fields))
    return argument


def _own_items(mapping: dict[str, Any]) -> dict[str, Any]:
    return {name: _own(value) for name, value in mapping.items()}


RAISED = (Exception, SystemExit)
"""What a plugin may raise and the engine contains; a program that ends is not for a plugin to end."""


def _raised(plugin: str, spec: Callable[..., Any], error: BaseException, container: str) -> OrlopError:
    """Return the error for a plugin that raised *error*; a ConfigError says that it refuses the config."""
    if isinstance(error, ConfigError):
        return ConfigError(
            error.message,
            act=error.act,
            pointer=error.pointer,
            path=error.path,
            value=error.value,
            plugin=error.plugin or plugin,
            container=error.container or container,
            hint=error.hint,
        )
    if isinstance(error, TimeoutError) and hasattr(error, "deadline"):
        return PluginError(f"{spec.__name__} {error}", plugin=plugin, container=container)
    reason = str(error) if isinstance(error, OrlopError) else f"{type(error).__name__}: {error}"
    return PluginError(f"{spec.__name__} raised {reason}", plugin=plugin, container=container)


def _sequence(
    plugin: str, spec: Callable[..., Any], item: type, call: Call, *arguments: object
) -> Sequence[Any]:
    """Call a hook that answers with a sequence of *item*; ``None`` is an empty one."""
    container: str = getattr(arguments[1], "id", "") if len(arguments) > 1 else ""
    answer = _ask(plugin, spec, call, *arguments, container=container)
    if answer is None:
        return ()
    return _check_items(plugin, spec, item, answer, container)


def _check_items(
    plugin: str, spec: Callable[..., Any], item: type, answer: object, container: str
) -> Sequence[Any]:
    """Return *answer* when it is a sequence of *item*; refuse it otherwise."""
    if not isinstance(answer, list | tuple):
        raise _wrong(plugin, spec, f"a sequence of {item.__name__}", answer, container)
    for one in answer:
        if not isinstance(one, item):
            raise _wrong(plugin, spec, f"only {item.__name__} in the sequence", one, container)
    return answer


def _nothing(plugin: str, spec: Callable[..., Any], call: Call, *arguments: object, container: str) -> None:
    answer = _ask(plugin, spec, call, *arguments, container=container)
    if answer is not None:
        raise _wrong(plugin, spec, "None", answer, container)


def _wrong(
    plugin: str, spec: Callable[..., Any], expected: str, answer: object, container: str = ""
) -> PluginError:
    return PluginError(
        f"{spec.__name__}: expected {expected}, got {type(answer).__name__}",
        value=answer,
        plugin=plugin,
        container=container,
    )
