"""Frozen attrs classes that cost little to define.

attrs writes and compiles a constructor and a dozen other methods for each class. A cold ``create``
defines a hundred classes, and that code would be half of its time; attrs itself and what it imports would
be another quarter. Here attrs only collects the fields, and is only imported, when somebody wants its view
of a class; the methods are inherited from :class:`Frozen`, once for all. ``attrs.fields``, ``attrs.evolve``
and ``attrs.asdict`` work.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn, Self

    import attrs

_T = TypeVar("_T", bound=type)


class Missing:
    """The class of :data:`MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the name of the one object."""
        return "MISSING"


MISSING = Missing()
"""The default of a field that has none."""


class Declared:
    """What :func:`field` says of a field; attrs makes its own declaration of it when it is asked."""

    __slots__ = ("default", "factory", "metadata")

    def __init__(
        self, default: object, factory: Callable[[], Any] | None, metadata: Mapping[str, Any]
    ) -> None:
        """Keep the parts."""
        self.default = default
        self.factory = factory
        self.metadata = metadata


def field(
    *,
    default: Any = MISSING,  # noqa: ANN401 - each field has its own type
    factory: Callable[[], Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Any:  # noqa: ANN401 - as above
    """Declare a field of a frozen class, as :func:`attrs.field` does, without attrs.

    Args:
        default: Its value when none is given.
        factory: Makes that value, anew for each object.
        metadata: What others may read of the field.
    """
    return Declared(default, factory, metadata or {})


class Frozen:
    """The base of all frozen classes: immutable values that compare by class and content."""

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]]

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[tuple[tuple[str, Any], ...]] = ()
    _required: ClassVar[frozenset[str]] = frozenset()
    _keyword_only: ClassVar[bool] = False
    _metadata: ClassVar[dict[str, Any]] = {}

    @classmethod
    def note_fields(
        cls, defaults: dict[str, Any], factories: dict[str, Callable[[], Any]], *, keyword_only: bool
    ) -> None:
        """Note the fields and their defaults (:data:`MISSING`: none); called once, by the decorator."""
        made = factories
        cls._names = tuple(defaults)
        cls._required = frozenset(
            name for name, default in defaults.items() if default is MISSING and name not in made
        )
        cls._factories = tuple(made.items())
        cls._defaults = {
            name: default
            for name, default in defaults.items()
            if name not in made and name not in cls._required
        }
        cls._keyword_only = keyword_only

    @classmethod
    def required_fields(cls) -> frozenset[str]:
        """Return the names of the fields without a default."""
        return cls._required

    @classmethod
    def field_metadata(cls) -> Mapping[str, Mapping[str, Any]]:
        """Return the metadata of the fields that were declared with some, in the order of the fields."""
        return cls._metadata

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
        raise _frozen_error()

    def __delattr__(self, name: str) -> None:
        """Refuse: the object is frozen."""
        raise _frozen_error()

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


def _frozen_error() -> Exception:
    """Return the error of attrs, an :class:`AttributeError`, for an attempt to change an object."""
    from attrs.exceptions import FrozenInstanceError

    return FrozenInstanceError()


class FrozenMap(dict[str, Any]):
    """A mapping inside of a frozen object: a dict that is read like any other and refuses to be changed.

    Copies, also deep ones, are ordinary dicts.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("documents are not changed in place: a plugin proposes an Adjustment")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Let copies and pickles be ordinary dicts."""
        return dict, (dict(self),)


class _Later:
    """Stands for ``__attrs_attrs__`` until somebody asks for it."""

    def __init__(self, cls: type, declared: dict[str, Declared], *, keyword_only: bool) -> None:
        self._cls = cls
        self._declared = declared
        self._keyword_only = keyword_only

    def __get__(self, instance: object, owner: type) -> Any:  # noqa: ANN401 - what attrs puts there
        import attrs

        cls = self._cls
        del cls.__attrs_attrs__  # type: ignore[attr-defined]
        for name, one in self._declared.items():
            default = one.default
            if one.factory is not None:
                default = attrs.Factory(one.factory)
            elif default is MISSING:
                default = attrs.NOTHING
            # attrs takes it off the class again.
            setattr(cls, name, attrs.field(default=default, metadata=one.metadata))
        return _ask_attrs(cls, keyword_only=self._keyword_only).__attrs_attrs__


def _ask_attrs(cls: type, *, keyword_only: bool) -> Any:  # noqa: ANN401 - the class, now of attrs
    """Let attrs collect the fields of *cls*, and generate nothing."""
    import attrs

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


def _is_of_attrs(value: object) -> bool:
    """Tell whether *value* is a declaration that :func:`attrs.field` made."""
    attrs = sys.modules.get("attrs")
    return attrs is not None and isinstance(value, type(attrs.field()))


def _collect_with_attrs(cls: Any, *, keyword_only: bool) -> None:  # noqa: ANN401 - a class of any kind
    import attrs

    made = _ask_attrs(cls, keyword_only=keyword_only)
    defaults: dict[str, Any] = {}
    factories: dict[str, Callable[[], Any]] = {}
    for one in made.__attrs_attrs__:
        # attrs.Factory is typed as a function that makes one.
        factory = getattr(one.default, "factory", None)
        if factory is not None:
            factories[one.name] = factory
        defaults[one.name] = MISSING if one.default is attrs.NOTHING else one.default
    made.note_fields(defaults, factories, keyword_only=keyword_only)
    made._metadata = {one.name: one.metadata for one in made.__attrs_attrs__ if one.metadata}  # noqa: SLF001 - a class made here


def collect(cls: _T, *, keyword_only: bool) -> _T:
    """Make *cls* an attrs class whose methods are those of :class:`Frozen`.

    Where the annotations, plain defaults and :func:`field` say all, attrs itself is not asked before somebody
    wants its view of the class: a third of a millisecond for each class is more than most commands can spend.
    """
    made: Any = cls
    own = cls.__dict__
    names = [name for name, kind in own.get("__annotations__", {}).items() if not kind.startswith("ClassVar")]
    if any(_is_of_attrs(own.get(name)) for name in names):
        _collect_with_attrs(cls, keyword_only=keyword_only)
        return cls
    defaults: dict[str, Any] = {}
    factories: dict[str, Callable[[], Any]] = {}
    declared: dict[str, Declared] = {}
    for name in names:
        default = own.get(name, MISSING)
        if type(default) is Declared:
            declared[name] = default
            if default.factory is not None:
                factories[name] = default.factory
            delattr(cls, name)
            default = default.default
        defaults[name] = default
    made.__attrs_attrs__ = _Later(cls, declared, keyword_only=keyword_only)
    made.note_fields(defaults, factories, keyword_only=keyword_only)
    made._metadata = {name: one.metadata for name, one in declared.items() if one.metadata}  # noqa: SLF001 - a class made here
    return cls


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _T) -> _T:
    """Make *cls*, a subclass of :class:`Frozen`, a frozen class; fields may be given by position."""
    return collect(cls, keyword_only=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen_keywords(cls: _T) -> _T:
    """Make *cls*, a subclass of :class:`Frozen`, a frozen class; fields are given by name."""
    return collect(cls, keyword_only=True)
