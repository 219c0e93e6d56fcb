"""What every step has in common, and how steps cross a process boundary as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

from orlop_hookspecs.errors import printable
from orlop_hookspecs.frozen import Frozen, collect

_S = TypeVar("_S", bound="Step")
_WORD_LIMIT = 120

STEP_TYPES: dict[str, type[Step]] = {}
"""Every step class by its name; a name is the step's identity in journals and between processes."""


class Step(Frozen):
    """One thing to be done, at the level of intent; plain data that only a platform's kernel executes.

    Subclasses are declared with :func:`step` and hold nothing but strings, integers, booleans, ``None`` and
    tuples or mappings of those.
    """

    PHASE: ClassVar[str] = ""
    """The phase (see :data:`orlop_hookspecs.plan.PHASES`) in which the step is executed."""
    SLOT: ClassVar[str] = ""
    """The place inside that phase."""
    ACT: ClassVar[str] = ""
    """What is done, in words that follow "cannot", with names of fields in braces: ``mask {path}``."""
    UNDO: ClassVar[str] = ""
    """What delete does about it, in words; empty when the step leaves nothing on the host."""
    JOINS: ClassVar[bool] = False
    """True: it is about one process, and also executed for each that joins the container later (``exec``).
    False: it is about the container, which is there by then."""

    because: str
    """JSON pointer of the property that asks for the step; every step has this field first."""

    @property
    def phase(self) -> str:
        """The phase of this very step; a class whose steps differ overrides it."""
        return self.PHASE

    @property
    def slot(self) -> str:
        """The slot of this very step; a class whose steps differ overrides it."""
        return self.SLOT

    def describe(self) -> str:
        """Return the step as one line for people: its name and the fields that say something."""
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in self.as_data().items()
            if name != "because" and value not in (None, "", (), False, {})
        )
        return f"{type(self).__name__}({shown})"

    def words(self) -> str:
        """Return what is done as one short line that follows "cannot", for errors."""
        values = {name: printable(str(value), _WORD_LIMIT) for name, value in self.as_data().items()}
        return self.ACT.format_map(values) or f"execute the step {type(self).__name__}"

    def as_data(self) -> dict[str, Any]:
        """Return the fields by name; JSON writes their tuples as arrays."""
        return dict(self.__dict__)

    def __hash__(self) -> int:
        """Hash by class and text; mappings inside a step are not hashable themselves."""
        return hash((type(self).__name__, repr(self)))


@dataclass_transform(frozen_default=True, kw_only_default=True)
def step(cls: type[_S]) -> type[_S]:
    """Declare a step class: frozen, keyword-only, known by its name."""
    made = collect(cls, keyword_only=True)
    STEP_TYPES[cls.__name__] = made
    return made


def encode_step(one: Step) -> tuple[str, dict[str, Any]]:
    """Return *one* as its name and its fields."""
    return type(one).__name__, one.as_data()


def _tuples(value: Any) -> Any:  # noqa: ANN401 - any primitive, nested
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def decode_step(name: str, data: Mapping[str, Any]) -> Step:
    """Return the step that :func:`encode_step` described; arrays become tuples again.

    Raises:
        ValueError: The name or a field is unknown.
    """
    cls = STEP_TYPES.get(name)
    if cls is None:
        msg = f"unknown step {name!r}"
        raise ValueError(msg)
    try:
        return cls(**{key: _tuples(value) for key, value in data.items()})
    except TypeError as error:
        msg = f"malformed step {name}: {error}"
        raise ValueError(msg) from None
