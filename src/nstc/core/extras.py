"""The optional parts of nstc: which are installed, and the line that installs the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

PACKAGE: Final = "nstc"
NOT_LISTED: Final = frozenset({"all", "dev"})  # each other extra at once; tools of nstc's tests
MODULES: Final = {
    "torch": "compress",
    "torchvision": "compress",
    "torch_pruning": "compress",
    "onnx": "compress",
    "onnxscript": "compress",
    "safetensors": "compress",
    "skimage": "compress",
    "huggingface_hub": "hub",
    "coremltools": "coreml",
    **dict.fromkeys(("ai_edge_litert", "litert_torch"), "litert"),
    "optuna": "search",
    "matplotlib": "report",
    "jinja2": "report",
    "av": "video",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "segno": "serve",
    **dict.fromkeys(("ray", "pyarrow", "fsspec", "s3fs"), "ray"),
}
"""The extra that brings a module, by the name that is imported."""


@dataclass(frozen=True, kw_only=True)
class Extra:
    """One optional part."""

    name: str  # as pip takes it in brackets
    missing: tuple[str, ...]  # requirements of it that are not met, such as torch>=2.9

    @property
    def pip_line(self) -> str | None:
        """What installs it; None if it is whole."""
        return f'pip install "{PACKAGE}[{self.name}]"' if self.missing else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "extra": self.name,
            "installed": not self.missing,
            "missing": list(self.missing),
            "pip": self.pip_line,
        }


def extras() -> tuple[Extra, ...]:
    """Each extra that users may install by itself; none where nstc runs without being installed."""
    try:
        declared = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
        needed = _needed()
    except metadata.PackageNotFoundError:
        return ()
    return tuple(_extra(name, needed) for name in declared if name not in NOT_LISTED)


def needs_of_extra(name: str) -> str | None:
    """What is missing of an extra, and the line that installs it: "av>=18: pip install ...".

    None if nothing is, or nstc runs without being installed.
    """
    try:
        extra = _extra(name, _needed())
    except metadata.PackageNotFoundError:
        return None
    return f"{', '.join(extra.missing)}: {extra.pip_line}" if extra.missing else None


def _needed() -> list[Requirement]:
    """Of nstc with all of its extras."""
    return [Requirement(line) for line in metadata.requires(PACKAGE) or []]


def _extra(name: str, needed: Sequence[Requirement]) -> Extra:
    unmet = [own for own in _of(name, needed) if not _is_met(own)]
    return Extra(name=name, missing=tuple(f"{own.name}{own.specifier}" for own in unmet))


def _of(extra: str, needed: Sequence[Requirement]) -> Iterator[Requirement]:
    """The requirements of an extra, also of extras that it names itself."""
    for own in needed:
        if own.marker is None or own.marker.evaluate({"extra": ""}):
            continue  # of every install
        if not own.marker.evaluate({"extra": extra}):
            continue
        if own.name == PACKAGE:
            for inner in sorted(own.extras):
                yield from _of(inner, needed)
        else:
            yield own


def _is_met(requirement: Requirement) -> bool:
    """Whether the package is there, in a version that the requirement allows."""
    try:
        version = Version(metadata.version(requirement.name))
    except metadata.PackageNotFoundError:
        return False
    except InvalidVersion:  # a build's own: nothing says that it is too old
        return True
    return requirement.specifier.contains(version, prereleases=True)
