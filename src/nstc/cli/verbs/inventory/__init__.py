"""Verbs that list models and what this machine can run."""
