"""A student of any painting."""

from any_paintings import for_any, paintings, photos, train_tiny

__all__ = ["for_any", "paintings", "photos", "train_tiny"]
