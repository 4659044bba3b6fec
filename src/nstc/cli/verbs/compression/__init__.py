"""Verbs that make models, and make them smaller and faster."""
