"""Verbs that measure models, and judge what was measured."""
