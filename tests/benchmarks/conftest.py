"""Small photographs, sessions that are functions, and bundles with tiny graphs."""

from small_benches import *  # noqa: F403  (fixtures)
