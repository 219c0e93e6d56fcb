"""What another runtime makes of a config, as far as its features document lets one know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.advertised import rely, since
from orlop.advertised.peers import version_tells_nothing
from orlop.advertised.validate import at
from orlop.documents.codec import decode_config, encode
from orlop.documents.faults import InvalidDocumentError
from orlop.documents.reader import parse
from orlop.documents.versions import parse as parse_version
from orlop.engine.coverage import ITEM, asks
from orlop.engine.verdict import APPLIED, IGNORED, REFUSED, UNKNOWN, ForeignVerdict, Judgement
from orlop.severity import ERROR, NOTE, WARNING
from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document
from orlop_hookspecs.documents.config import Config
from orlop_hookspecs.errors import UNSET, DocumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Setting = tuple[str, str, Any]
    """JSON pointer, property path and value."""

_MAX = "ociVersionMax"
_BINDS = frozenset(("bind", "rbind"))
_NO_WORD = "features documents have no word for this property"


def check_features(
    config: bytes | Mapping[str, Any] | Config, features: bytes | Mapping[str, Any] | Document
) -> ForeignVerdict:
    """Return what the runtime with the document *features* makes of each property that *config* sets.

    A property is ``applied`` when the document says so, or when the specification has demanded it since a
    version that the runtime follows; ``refused`` when the runtime must generate an error; ``ignored`` when it
    is lost without one; ``unknown`` when the document does not say.

    Args:
        config: A config.json: its text, its JSON data, or the document.
        features: The features document of any runtime, in one of the same forms.

    Raises:
        DocumentError: *features* is no features document at all.
    """
    said = _features(features)
    unknown: list[str] = []
    try:
        wanted = config if isinstance(config, Config) else decode_config(_data(config), report=unknown)
    except InvalidDocumentError as error:
        return ForeignVerdict(
            tuple(Judgement(f.pointer, REFUSED, (), f.message, f.value) for f in error.faults)
        )
    except DocumentError as error:
        return ForeignVerdict((Judgement(error.pointer, REFUSED, (), error.message, error.value),))
    judge = _Judge(said)
    found: list[Judgement] = []
    lost = "//"
    for setting in _settings(wanted, judge):
        if setting[0].startswith(lost):
            continue  # it is lost with what it is a part of
        found.append(judge.judge(*setting))
        if found[-1].outcome == IGNORED:
            lost = f"{setting[0]}/"
    found += [Judgement(one, IGNORED, (), "unknown to the specification") for one in unknown]
    return ForeignVerdict(tuple(found))


def _data(source: bytes | Mapping[str, Any]) -> dict[str, Any]:
    return parse(source) if isinstance(source, bytes) else dict(source)


def _features(source: bytes | Mapping[str, Any] | Document) -> dict[str, Any]:
    data = encode(source) if isinstance(source, Document) else _data(source)
    for name in ("ociVersionMin", _MAX):
        if since.release_of(data.get(name)) is None:
            raise DocumentError(
                "this is no features document: it does not say which versions the runtime accepts",
                pointer=f"/{name}",
                value=data.get(name, UNSET),
            )
    return data


# -- what a config sets


def _settings(config: Config, judge: _Judge) -> Iterator[Setting]:
    """Yield everything that *config* sets, down to what a features document has words for."""
    for name, value in config.properties():
        if name == "mounts":
            for index, mount in enumerate(value):
                judge.binds = _is_bind(mount)
                yield from _below(mount, f"mounts{ITEM}", f"/mounts/{index}")
        elif name == "annotations":
            for key in value:
                yield f"/annotations/{key.replace('~', '~0').replace('/', '~1')}", "annotations", key
        elif asks(value, name):
            yield from _below(value, name, f"/{name}")


def _is_bind(mount: Document) -> bool:
    options = getattr(mount, "options", None) or ()
    return getattr(mount, "type", None) == "bind" or not _BINDS.isdisjoint(options)


def _below(value: object, path: str, pointer: str) -> Iterator[Setting]:
    deeper = any(known.startswith((f"{path}.", f"{path}[")) for known in _PLACES)
    if isinstance(value, Document) and deeper:
        if path in rely.SWITCHES or path in since.CONFIG:
            yield pointer, path, UNSET
        for name, item in value.properties():
            if asks(item, f"{path}.{name}"):
                yield from _below(item, f"{path}.{name}", f"{pointer}/{name}")
    elif isinstance(value, tuple) and deeper:
        for index, item in enumerate(value):
            yield from _below(item, f"{path}{ITEM}", f"{pointer}/{index}")
    else:
        yield pointer, path, value if isinstance(value, (str, bool, int)) else UNSET


_OPTION = f"mounts{ITEM}.options{ITEM}"
_PLACES = (*rely.WORDS, *rely.SWITCHES, *rely.CAPABILITIES, *since.CONFIG, _OPTION)
"""Property paths that are judged each on its own; what holds none of them is judged as a whole."""


# -- what becomes of it


class _Judge:
    """What one features document says about single properties."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self._newest = since.release_of(said[_MAX]) or since.OLDEST
        self._versions_tell = not version_tells_nothing(said)
        self.binds = False
        """The mount that is being judged is a bind mount."""

    def judge(self, pointer: str, path: str, value: Any) -> Judgement:  # noqa: ANN401 - JSON data
        """Return what becomes of the property at *pointer*."""
        special = {"ociVersion": self._version, "annotations": self._annotation, _OPTION: self._option}.get(
            path
        )
        if special is not None:
            return special(pointer, value)
        if rely.within(path, rely.FOREIGN):
            return _unknown(pointer, "features documents have no words for this platform")
        return self._lost(pointer, path) or self._kept(pointer, path, value)

    def _kept(self, pointer: str, path: str, value: Any) -> Judgement:  # noqa: ANN401 - JSON data
        """Judge a property that the runtime has, by its value."""
        if path in rely.WORDS:
            return self._word(pointer, path, value)
        if path in rely.CAPABILITIES:
            return self._capability(pointer, value)
        if path.startswith("hooks."):
            return self._hook(pointer, path.partition(".")[2])
        return self._plain(pointer, path)

    def _lost(self, pointer: str, path: str) -> Judgement | None:
        """Return the judgement on a property that the runtime does not have, else ``None``."""
        severity = ERROR if rely.within(path, rely.PROTECTING) else WARNING
        for place, switch in rely.SWITCHES.items():
            if rely.within(path, (place,)) and at(self._said, switch) is False:
                message = f"the runtime says that it does not implement this ({switch} is false)"
                hint = "it may also refuse the config; nothing obliges it to"
                return Judgement(pointer, IGNORED, (), message, severity=severity, feature=switch, hint=hint)
        if path.startswith("linux.resources") and self._no_cgroups():
            message = "the runtime implements no version of cgroups"
            return Judgement(pointer, IGNORED, (), message, severity=ERROR, feature="linux.cgroup")
        release = since.introduced(path, since.CONFIG, since.OLDEST)
        if release <= self._newest or self._told(path):
            return None
        message = (
            f"the property is defined since {since.spell(release)}, the runtime follows {self._said[_MAX]}"
        )
        if not self._versions_tell:
            return _unknown(pointer, f"{message}, but that version tells nothing", feature=_MAX)
        message += " and ignores what it does not know"
        return Judgement(pointer, IGNORED, (), message, severity=severity, feature=_MAX)

    def _no_cgroups(self) -> bool:
        return at(self._said, "linux.cgroup.v1") is False and at(self._said, "linux.cgroup.v2") is False

    def _told(self, path: str) -> bool:
        """Tell whether the document speaks for *path* itself, whatever version it names."""
        return at(self._said, _speaker(path)) is not None

    def _list(self, feature: str) -> list[Any] | None:
        found = at(self._said, feature)
        return found if isinstance(found, list) else None

    def _word(self, pointer: str, path: str, value: Any) -> Judgement:  # noqa: ANN401 - JSON data
        feature = rely.WORDS[path]
        listed = self._list(feature)
        if feature == "linux.seccomp.supportedFlags" and listed is None:
            feature = "linux.seccomp.knownFlags"
            listed = self._list(feature)
        if listed is None:
            return _unknown(pointer, f"the document has no {feature}", value, feature=feature)
        if value in listed:
            return Judgement(pointer, APPLIED, feature=feature)
        message = f"the value is not in {feature}, and runtimes refuse values that they do not support"
        return Judgement(pointer, REFUSED, (), message, value, feature=feature)

    def _capability(self, pointer: str, value: Any) -> Judgement:  # noqa: ANN401 - JSON data
        feature = "linux.capabilities"
        listed = self._list(feature)
        if listed is None:
            return _unknown(pointer, f"the document has no {feature}", value, feature=feature)
        if value in listed:
            return Judgement(pointer, APPLIED, feature=feature)
        message = f"the capability is not in {feature}: it is left out with a warning"
        return Judgement(pointer, IGNORED, (), message, value, severity=WARNING, feature=feature)

    def _hook(self, pointer: str, kind: str) -> Judgement:
        listed = self._list("hooks")
        if listed is None:
            return _unknown(pointer, "the document has no hooks", feature="hooks")
        if kind in listed:
            return Judgement(pointer, APPLIED, feature="hooks")
        message = "the runtime does not know hooks of this kind, and ignores what it does not know"
        return Judgement(pointer, IGNORED, (), message, severity=ERROR, feature="hooks")

    def _option(self, pointer: str, value: str) -> Judgement:
        """Judge an option of a mount; one that the runtime does not know becomes data of mount(2)."""
        feature = "mountOptions"
        listed = self._list(feature)
        named = value in vocabulary.MOUNT_OPTIONS
        if listed is not None and value in listed:
            return Judgement(pointer, APPLIED, feature=feature)
        if listed is None and named:
            return _unknown(pointer, f"the document has no {feature}", value, feature=feature)
        if self.binds:
            message = (
                "the runtime does not know the option, and a bind mount has no file system to pass it to"
            )
            severity = ERROR if named else WARNING
            return Judgement(pointer, IGNORED, (), message, value, severity=severity, feature=feature)
        if named:
            message = (
                "the runtime does not know the option and passes it to the file system, which has none such"
            )
            return Judgement(pointer, REFUSED, (), message, value, feature=feature)
        message = "the option is passed to the file system, which decides"
        return Judgement(pointer, APPLIED, (), message, value, severity=NOTE, feature=feature)

    def _annotation(self, pointer: str, key: str) -> Judgement:
        feature = "potentiallyUnsafeConfigAnnotations"
        listed = self._list(feature)
        if listed is None:
            message = "the document does not say whether the runtime acts on this annotation"
            return _unknown(pointer, message, feature=feature)
        acts = any(key.startswith(one) if one.endswith(".") else key == one for one in map(str, listed))
        message = "the annotation changes what the runtime does" if acts else ""
        return Judgement(pointer, APPLIED, (), message, severity=NOTE if acts else "", feature=feature)

    def _version(self, pointer: str, value: str) -> Judgement:
        wanted, least, most = (
            parse_version(v) for v in (value, self._said["ociVersionMin"], self._said[_MAX])
        )
        if wanted and least and most and not least.precedence <= wanted.precedence <= most.precedence:
            message = f"the runtime names versions from {least} to {most}; it may refuse another one"
            return Judgement(pointer, UNKNOWN, (), message, value, severity=WARNING, feature=_MAX)
        return Judgement(pointer, APPLIED, feature=_MAX)

    def _plain(self, pointer: str, path: str) -> Judgement:
        """Judge a property that the document speaks for as a whole, or has no word for."""
        feature = _speaker(path)
        if feature:
            if at(self._said, feature) is None:
                return _unknown(pointer, f"the document has no {feature}", feature=feature)
            return Judgement(pointer, APPLIED, feature=feature)
        release = since.introduced(path, since.CONFIG, since.OLDEST)
        if release > since.OLDEST and not self._versions_tell:
            return _unknown(pointer, f"{_NO_WORD}, and the version that the document names tells nothing")
        message = f"in the specification since {since.spell(release)}; {_NO_WORD}"
        return Judgement(pointer, APPLIED, (), message, severity=NOTE if release > since.OLDEST else "")


def _speaker(path: str) -> str:
    """Return the path in features documents that tells whether property *path* is applied; empty for none."""
    if path.startswith("hooks."):
        return "hooks"
    if path in rely.WORDS:
        return rely.WORDS[path]
    for table in (rely.SWITCHES, rely.SECTIONS):
        place = rely.within(path, table)
        if place:
            return table[place]
    return ""


def _unknown(pointer: str, message: str, value: Any = UNSET, *, feature: str = "") -> Judgement:  # noqa: ANN401 - JSON data
    return Judgement(pointer, UNKNOWN, (), message, value, severity=NOTE, feature=feature)
