"""Students of one trunk and their pack."""

from packed_students import *  # noqa: F403  (fixtures)
