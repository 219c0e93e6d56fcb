"""Frozen attrs classes that cost little to define.

attrs writes and compiles a constructor and a dozen other methods for each class. A cold ``create``
defines a hundred classes, and that code would be half of its time. Here attrs only collects the fields,
when it is asked; the methods are inherited from :class:`Frozen`, once for all. ``attrs.fields``,
``attrs.evolve`` and ``attrs.asdict`` work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import attrs

if TYPE_CHECKING:
    from typing import Self

_T = TypeVar("_T", bound=type)


class Frozen:
    """The base of all frozen classes: immutable values that compare by class and content."""

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]]

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[tuple[tuple[str, Any], ...]] = ()
    _required: ClassVar[frozenset[str]] = frozenset()
    _keyword_only: ClassVar[bool] = False

    @classmethod
    def note_fields(cls, defaults: dict[str, Any], *, keyword_only: bool) -> None:
        """Note the fields and their defaults (``attrs.NOTHING``: none); called once, by the decorator."""
        cls._names = tuple(defaults)
        cls._required = frozenset(name for name, default in defaults.items() if default is attrs.NOTHING)
        # attrs.Factory is typed as a function that makes one.
        made = {
            name: getattr(default, "factory", None)
            for name, default in defaults.items()
            if hasattr(default, "factory")
        }
        cls._factories = tuple(made.items())
        cls._defaults = {
            name: default
            for name, default in defaults.items()
            if name not in made and name not in cls._required
        }
        cls._keyword_only = keyword_only

    def __init__(self, *values: Any, **fields: Any) -> None:  # noqa: ANN401 - each field has its own type
        """Set all fields; those not given have their defaults.

        Raises:
            TypeError: A field is unknown, given twice, or has no default and is missing.
        """
        if values:
            fields = self._with_positions(values, fields)
        cls = self.__class__
        content = self.__dict__
        content.update(cls._defaults)
        for name, factory in cls._factories:
            content[name] = factory()
        content.update(fields)
        # Exactly the known names are there, or something was unknown or missing.
        if len(content) != len(cls._names) or not cls._required <= fields.keys():
            unknown = ", ".join(sorted(fields.keys() - set(cls._names)))
            missing = ", ".join(sorted(cls._required - fields.keys()))
            what = f"has no {unknown}" if unknown else f"needs {missing}"
            raise TypeError(f"{cls.__name__} {what}")

    def _with_positions(self, values: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
        if self._keyword_only or len(values) > len(self._names):
            raise TypeError(f"{type(self).__name__} does not take {len(values)} positional arguments")
        named = dict(zip(self._names, values, strict=False))
        if named.keys() & fields.keys():
            twice = ", ".join(sorted(named.keys() & fields.keys()))
            raise TypeError(f"{type(self).__name__} got {twice} twice")
        return named | fields

    def evolve(self, **changes: Any) -> Self:  # noqa: ANN401 - each field has its own type
        """Return a copy with the fields in *changes* replaced."""
        return self.__class__(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: the object is frozen."""
        raise attrs.exceptions.FrozenInstanceError

    def __delattr__(self, name: str) -> None:
        """Refuse: the object is frozen."""
        raise attrs.exceptions.FrozenInstanceError

    def __eq__(self, other: object) -> bool:
        """Tell whether *other* is of the same class with equal fields."""
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Return the hash of the content; a ``TypeError`` if a mapping is part of it."""
        content = self.__dict__
        return hash((type(self), *(content[name] for name in self._names)))

    def __repr__(self) -> str:
        """Return the constructor call that makes an equal object, without the fields at their defaults."""
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in self.__dict__.items()
            if name not in self._defaults or value != self._defaults[name]
        )
        return f"{type(self).__name__}({shown})"


_DECLARED = type(attrs.field())


class _Later:
    """Stands for ``__attrs_attrs__`` until somebody asks for it."""

    def __init__(self, cls: type, *, keyword_only: bool) -> None:
        self._cls = cls
        self._keyword_only = keyword_only

    def __get__(self, instance: object, owner: type) -> Any:  # noqa: ANN401 - what attrs puts there
        del self._cls.__attrs_attrs__  # type: ignore[attr-defined]
        return _ask_attrs(self._cls, keyword_only=self._keyword_only).__attrs_attrs__


def _ask_attrs(cls: type, *, keyword_only: bool) -> Any:  # noqa: ANN401 - the class, now of attrs
    """Let attrs collect the fields of *cls*, and generate nothing."""
    return attrs.define(
        cls,
        kw_only=keyword_only,
        init=False,
        repr=False,
        eq=False,
        slots=False,
        match_args=False,
        getstate_setstate=False,
        on_setattr=None,
    )


def collect(cls: _T, *, keyword_only: bool) -> _T:
    """Make *cls* an attrs class whose methods are those of :class:`Frozen`.

    Where the annotations and plain defaults say all, attrs itself is not asked before somebody wants its
    view of the class: a third of a millisecond for each class is more than most commands can spend.
    """
    made: Any = cls
    own = cls.__dict__
    names = [name for name, kind in own.get("__annotations__", {}).items() if not kind.startswith("ClassVar")]
    if any(isinstance(own.get(name), _DECLARED) for name in names):
        made = _ask_attrs(cls, keyword_only=keyword_only)
        defaults = {field.name: field.default for field in made.__attrs_attrs__}
    else:
        defaults = {name: own.get(name, attrs.NOTHING) for name in names}
        made.__attrs_attrs__ = _Later(cls, keyword_only=keyword_only)
    made.note_fields(defaults, keyword_only=keyword_only)
    return made  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def frozen(cls: _T) -> _T:
    """Make *cls*, a subclass of :class:`Frozen`, a frozen class; fields may be given by position."""
    return collect(cls, keyword_only=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def frozen_keywords(cls: _T) -> _T:
    """Make *cls*, a subclass of :class:`Frozen`, a frozen class; fields are given by name."""
    return collect(cls, keyword_only=True)
