"""The version of nstc, the one place where it is written."""

from typing import Final

VERSION: Final = "0.2.0.dev0"
