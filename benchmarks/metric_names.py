"""Names that quality metrics had in files of an older nstc: whatever reads one asks here."""

from collections.abc import Mapping
from typing import Any, Final

RENAMED: Final[Mapping[str, str]] = {"edge_preservation": "edge_difference"}
"""What the metrics of these names are called now; no other metric may have one of them."""


def current_name(name: str) -> str:
    """The name that a metric has now; any other word stays as it is."""
    return RENAMED.get(name, name)


def with_current_names(content: Any) -> Any:
    """A file's mapping by names of metrics, by those of today; what is no mapping as it is."""
    if not isinstance(content, Mapping):
        return content
    return {current_name(name): own for name, own in content.items()}
