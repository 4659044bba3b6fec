"""What findings and figures of a baseline are of: a file of a model, or a row that measures one."""

from dataclasses import dataclass

from nstc.core.decoding import Count, Name


@dataclass(frozen=True, kw_only=True)
class FileKey:
    """Identifies a file of a model."""

    model: Name  # its zoo name, or its path relative to the baseline
    artifact: Name  # the file that was run, such as int8.onnx

    @property
    def key(self) -> "FileKey":
        """The key alone of what a baseline keeps of a file."""
        return FileKey(model=self.model, artifact=self.artifact)

    def __str__(self) -> str:
        """One line, such as "zoo:starry-night int8.tiles.onnx"."""
        return f"{self.model} {self.artifact}"


@dataclass(frozen=True, kw_only=True)
class RowKey(FileKey):
    """Identifies a row of a result."""

    target: Name  # where it was run, such as cpu:2
    size: Count  # side of the pictures in pixels

    @property
    def key(self) -> "RowKey":
        """The key alone of a row or time."""
        return RowKey(model=self.model, artifact=self.artifact, target=self.target, size=self.size)

    def __str__(self) -> str:
        """One line, such as "zoo:starry-night int8.onnx cpu:2 512px"."""
        return f"{self.model} {self.artifact} {self.target} {self.size}px"
