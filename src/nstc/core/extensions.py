"""What other packages add to nstc: parts that an installed package names by its entry points.

Packages' metadata is read only for a name that is not nstc's own, or to list all parts of a group,
and a package is imported only when a part of it is used. docs/guides/extending.md shows the groups.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from nstc.core.errors import ExtensionError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LOSSES: Final = "nstc.losses"
BLOCKS: Final = "nstc.blocks"
METRICS: Final = "nstc.metrics"
FORMATS: Final = "nstc.formats"
TARGETS: Final = "nstc.targets"

T = TypeVar("T")


@dataclass(frozen=True)
class Extensions(Generic[T]):
    """The parts of one group that packages add to a table of nstc's own."""

    group: str  # of entry points
    kind: type[T]  # what an entry point must lead to
    built_in: Collection[str]  # names in the table, which no package may use
    reserved_ends: tuple[str, ...] = ()  # of names that nstc makes of others

    def names(self) -> tuple[str, ...]:
        """The names, importing nothing; `ExtensionError` for one that a part may not have."""
        return tuple(self._points())

    def _points(self) -> "dict[str, EntryPoint]":
        found: dict[str, EntryPoint] = {}
        for point in _points(self.group):
            taken = "nstc" if point.name in self.built_in else _package(found.get(point.name))
            if taken:
                raise ExtensionError(
                    f"{_words(point)} has the name of one that {taken} has: "
                    f"uninstall {_package(point)}, or ask its authors for another name."
                )
            if point.name.endswith(self.reserved_ends):
                raise ExtensionError(
                    f"{_words(point)} ends in one of {', '.join(self.reserved_ends)}, as names do "
                    f"that nstc makes of others: uninstall {_package(point)}, or ask its authors "
                    "for another name."
                )
            found[point.name] = point
        return found

    def get(self, name: str) -> T | None:
        """The part of a name, imported, or None; `ExtensionError` if it can't be used."""
        point = self._points().get(name)
        if point is None:
            return None
        try:
            part = point.load()
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise ExtensionError(
                f"{_words(point)} can't be imported: {why:.300}. Upgrade or uninstall "
                f"{_package(point)}."
            ) from error
        named = getattr(part, "name", name)
        if not isinstance(part, self.kind) or named != name:
            what = f"is named {named!r:.60}" if named != name else f"is a {type(part).__name__}"
            raise ExtensionError(
                f"{_words(point)} {what}: expected a {self.kind.__module__}.{self.kind.__name__} "
                f"of that name. Upgrade or uninstall {_package(point)}."
            )
        return part

    def refuse_incomplete(self, name: str, made: object, protocol: type) -> None:
        """Raise `ExtensionError` if what the part of a name made lacks members of a protocol.

        Those that the protocol has as methods must be callable.
        """
        members = {own: kind for own, kind in vars(protocol).items() if own[0] != "_"}
        missing = [own for own in members if not hasattr(made, own)]
        methods = [own for own, kind in members.items() if callable(kind) and own not in missing]
        uncallable = [own for own in methods if not callable(getattr(made, own))]
        if missing or uncallable:
            point = self._points()[name]
            lacking = [f"without {', '.join(missing)}"] if missing else []
            lacking += [f"whose {own} is no method" for own in uncallable]
            raise ExtensionError(
                f"{_words(point)} makes a {type(made).__name__} {', '.join(lacking)}: "
                f"expected all of a {protocol.__module__}.{protocol.__name__}. Upgrade or "
                f"uninstall {_package(point)}."
            )

    def all(self) -> Mapping[str, T]:
        """Every part by its name, imported; raises what `get` raises."""
        return {name: part for name in self.names() if (part := self.get(name)) is not None}


def names_in(group: str) -> tuple[str, ...]:
    """Names that packages add to a group, where nstc's own parts of it can't be loaded."""
    return tuple(point.name for point in _points(group))


def package_of(group: str, name: str) -> str | None:
    """The package that adds a part, with its version, such as "nstc-sketch 1.0"."""
    found = (_package(own, version=True) for own in _points(group) if own.name == name)
    return next(found, None)


def _points(group: str) -> "Collection[EntryPoint]":
    from importlib.metadata import entry_points  # too heavy for --help

    return tuple(entry_points(group=group))


def _package(point: "EntryPoint | None", *, version: bool = False) -> str:
    """Who declares it; empty for none."""
    if point is None or point.dist is None:
        return ""
    return f"{point.dist.name} {point.dist.version}" if version else point.dist.name


def _words(point: "EntryPoint") -> str:
    where = f"{point.name} = {point.value} in {point.group}"
    return f"the extension {where} of {_package(point, version=True)}"
