"""The version of nstc."""

from typing import Final

VERSION: Final = "0.2.0.dev0"
