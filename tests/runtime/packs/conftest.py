"""Students of one trunk and their pack, and one of any painting."""

from any_paintings import for_any, paintings, photos, train_tiny
from packed_students import *  # noqa: F403  (fixtures)

__all__ = ["for_any", "paintings", "photos", "train_tiny"]
