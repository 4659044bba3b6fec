"""The optional parts of nstc: which are installed, and the line that installs the rest."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

PACKAGE: Final = "nstc"
NOT_FOR_USERS: Final = frozenset({"dev"})

_REQUIREMENT: Final = re.compile(
    r"(?P<name>[\w.-]+)(?:\[(?P<extras>[^\]]+)\])?\s*(?P<versions>[^;]*)"
)
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")


@dataclass(frozen=True, kw_only=True)
class Extra:
    """One optional part.

    Attributes:
        name: As pip takes it in brackets.
        missing: Requirements of it that are not met, such as torch>=2.9.
    """

    name: str
    missing: tuple[str, ...]

    @property
    def pip_line(self) -> str | None:
        """What installs it; None if it is whole."""
        return f'pip install "{PACKAGE}[{self.name}]"' if self.missing else None

    @property
    def missing_text(self) -> str:
        """What is not met, for a table."""
        return ", ".join(self.missing)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "extra": self.name,
            "installed": not self.missing,
            "missing": list(self.missing),
            "pip": self.pip_line,
        }


def extras() -> tuple[Extra, ...]:
    """All extras that users are meant to install; none where nstc runs without being installed."""
    try:
        declared = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return ()
    return tuple(
        Extra(name=name, missing=tuple(line for line in _of(name, lines) if not _is_met(line)))
        for name in declared
        if name not in NOT_FOR_USERS
    )


def _of(extra: str, lines: Sequence[str]) -> Iterator[str]:
    """The requirements of an extra, those of extras that it names itself among them."""
    for line in lines:
        condition = _EXTRA.search(line)
        if condition is None or condition["extra"] != extra:
            continue
        parts = _parts(line)
        if parts["name"] == PACKAGE:
            for inner in (parts["extras"] or "").split(","):
                yield from _of(inner.strip(), lines)
        else:
            yield f"{parts['name']}{parts['versions'].strip()}"


def _is_met(requirement: str) -> bool:
    """Whether the package is there, and new enough where the requirement says >=."""
    parts = _parts(requirement)
    try:
        version = metadata.version(parts["name"])
    except metadata.PackageNotFoundError:
        return False
    least = re.search(r">=\s*([\d.]+)", parts["versions"])
    return least is None or _numbers(version) >= _numbers(least[1])


def _parts(line: str) -> re.Match[str]:
    match = _REQUIREMENT.match(line)
    if match is None:
        raise ValueError(f"{line!r} is no requirement")
    return match


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.14.1+cu13 is (2, 14, 1)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
