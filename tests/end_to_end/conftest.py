"""Small networks with random weights."""

from export_memory import exported_once
from small_networks import *  # noqa: F403  (fixtures)

__all__ = ["exported_once"]
