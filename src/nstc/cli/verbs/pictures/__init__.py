"""Verbs that make pictures."""
