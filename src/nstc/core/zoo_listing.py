"""What the zoo holds, read from its manifests."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nstc.core.bundle import artifact_file, artifact_name, open_bundle
from nstc.core.zoo import zoo_names


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A shipped model.

    Attributes:
        name: Its zoo name.
        stage: What was done to it last.
        style: Name of the painting.
        artifacts: Files that run.
        size_bytes: Of the int8 file, else of the weights.
        speedup: Times faster than its teacher, as measured when it was made: of the int8 file, else
            of the float one. None for a teacher.
        style_ratio: Likewise.
        content_ratio: Likewise.
    """

    name: str
    stage: str
    style: str
    artifacts: tuple[str, ...]
    size_bytes: int
    speedup: float | None
    style_ratio: float | None
    content_ratio: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        return (
            self.name,
            self.stage,
            self.style,
            ", ".join(self.artifacts) or "-",
            f"{self.size_bytes / 1000:.0f}",
            "-" if self.speedup is None else f"{self.speedup:.0f}",
            "-" if self.style_ratio is None else f"{self.style_ratio:.2f}",
        )


def list_zoo() -> list[ZooEntry]:
    """All shipped models."""
    return [_entry(name) for name in zoo_names()]


def _entry(name: str) -> ZooEntry:
    bundle = open_bundle(name)
    manifest = bundle.manifest
    deployed = artifact_file("int8")
    main_file = deployed if deployed in manifest.files else "weights.safetensors"
    row = _row_of("int8", manifest.measurements) or _row_of("float", manifest.measurements)
    quality = (row or {}).get("quality") or {}
    style = manifest.style
    return ZooEntry(
        name=name,
        stage=manifest.stage,
        style="-" if style is None else style.name,
        artifacts=bundle.artifacts,
        size_bytes=manifest.files[main_file].size_bytes,
        speedup=None if row is None else row["speedup"]["median"],
        style_ratio=quality.get("style_ratio"),
        content_ratio=quality.get("content_ratio"),
    )


def _row_of(short: str, rows: tuple[Mapping[str, Any], ...]) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["artifact"] == artifact_name(short)), None)
