"""What every step has in common, and how steps cross a process boundary as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

import attrs

_S = TypeVar("_S", bound="Step")

STEP_TYPES: dict[str, type[Step]] = {}
"""Every step class by its name; a name is the step's identity in journals and between processes."""


class Step:
    """One thing to be done, at the level of intent; plain data that only a platform's kernel executes.

    Subclasses are declared with :func:`step` and hold nothing but strings, integers, booleans, ``None`` and
    tuples or mappings of those.
    """

    PHASE: ClassVar[str] = ""
    """The phase (see :data:`orlop_hookspecs.plan.PHASES`) in which the step is executed."""
    SLOT: ClassVar[str] = ""
    """The place inside that phase."""
    UNDO: ClassVar[str] = ""
    """What delete does about it, in words; empty when the step leaves nothing on the host."""

    because: str
    """JSON pointer of the property that asks for the step; every step has this field first."""
    __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]] = ()

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - each field has its own type
        """Set all fields by name; those not given have their defaults.

        One constructor serves all classes: generating one per class would be paid at every start.

        Raises:
            TypeError: A field is unknown, or one without a default is missing.
        """
        values = self.__dict__
        for field in self.__attrs_attrs__:
            if field.name in fields:
                values[field.name] = fields.pop(field.name)
            elif field.default is attrs.NOTHING:
                raise TypeError(f"{type(self).__name__} lacks {field.name}")
            else:
                values[field.name] = field.default
        if fields:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(fields))}")

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a step is frozen."""
        raise attrs.exceptions.FrozenInstanceError

    def __delattr__(self, name: str) -> None:
        """Refuse: a step is frozen."""
        raise attrs.exceptions.FrozenInstanceError

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

    def as_data(self) -> dict[str, Any]:
        """Return the fields by name; JSON writes their tuples as arrays."""
        return {field.name: getattr(self, field.name) for field in self.__attrs_attrs__}

    def __eq__(self, other: object) -> bool:
        """Steps are equal when they are of one class and all fields are equal."""
        return isinstance(other, Step) and type(self) is type(other) and self.as_data() == other.as_data()

    def __hash__(self) -> int:
        """Hash by class and description; mappings inside a step are not hashable themselves."""
        return hash((type(self).__name__, repr(self)))

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.as_data().items())})"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def step(cls: type[_S]) -> type[_S]:
    """Declare a step class: frozen, keyword-only, known by its name.

    Equality, hash and repr are inherited from :class:`Step`: generating them per class would be paid at
    every start.
    """
    made = attrs.define(
        kw_only=True,
        init=False,
        repr=False,
        eq=False,
        slots=False,
        match_args=False,
        getstate_setstate=False,
        on_setattr=None,
    )(cls)
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
