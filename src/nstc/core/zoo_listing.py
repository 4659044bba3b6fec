"""What the zoo holds, read from its manifests."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nstc.core.bundle import artifact_file, artifact_name, open_bundle
from nstc.core.zoo import zoo_names


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """An included model."""

    name: str  # its zoo name
    stage: str  # what was done to it last
    style: str  # name of the painting
    artifacts: tuple[str, ...]  # files that run
    size_bytes: int  # of the int8 file, else of the weights
    # Times faster than its teacher, by the last measurement of the int8 file, else of the float
    # one. None for a teacher.
    speedup: float | None
    style_ratio: float | None  # likewise
    content_ratio: float | None  # likewise
    taken: str | None  # on what these were measured: "32 photographs of unseen at 512x512 on cpu:2"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        speedup = self.speedup
        return (
            self.name,
            self.stage,
            self.style,
            ", ".join(self.artifacts) or "-",
            f"{self.size_bytes / 1000:.0f}",
            # As the README's: 82.7, 103, 2.96.
            "-" if speedup is None else f"{speedup:.0f}" if speedup >= 100 else f"{speedup:#.3g}",
            "-" if self.style_ratio is None else f"{self.style_ratio:.2f}",
        )


def basis(entries: Sequence[ZooEntry]) -> list[str]:
    """On what the entries were measured, a line for each of these conditions."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        if entry.taken is not None:
            names.setdefault(entry.taken, []).append(entry.name)
    whole = "times faster and style ratio"
    return [
        f"{whole if len(names) == 1 else ', '.join(models)}: compared with the model's teacher, "
        f"medians over {taken}"
        for taken, models in names.items()
    ]


def list_zoo() -> list[ZooEntry]:
    """All included models."""
    return [_entry(name) for name in zoo_names()]


def _entry(name: str) -> ZooEntry:
    bundle = open_bundle(name)
    manifest = bundle.manifest
    deployed = artifact_file("int8")
    main_file = deployed if deployed in manifest.files else "weights.safetensors"
    # What was measured last of a file, which the README shows too.
    rows = {row["artifact"]: row for row in manifest.measurements}
    row = rows.get(artifact_name("int8")) or rows.get(artifact_name("float"))
    quality = (row or {}).get("quality") or {}
    taken = None
    if row is not None:
        photos = row.get("judged_by") or {}
        count, sets = photos.get("count", "some"), ", ".join(photos.get("sets", ()))
        size = f" at {row['size']}x{row['size']}" if "size" in row else ""
        target = f" on {row['target']}" if "target" in row else ""
        taken = f"{count} photographs{f' of {sets}' if sets else ''}{size}{target}"
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
        taken=taken,
    )
