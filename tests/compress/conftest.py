"""Small networks with random weights; each form of network is exported once."""

from export_memory import exported_once
from short_turns import short_turns
from small_networks import *  # noqa: F403  (fixtures)

__all__ = ["exported_once", "short_turns"]
