"""Graphs run as other processors run them, to see whether they give the same pictures there."""
