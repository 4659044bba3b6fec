"""The fixtures of what the lab compares and times, and `lab` itself, which is in no wheel."""

import sys
from pathlib import Path

from export_memory import exported_once
from short_turns import short_turns
from small_benches import *  # noqa: F403  (fixtures)
from small_networks import *  # noqa: F403  (fixtures)

__all__ = ["exported_once", "short_turns"]

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
