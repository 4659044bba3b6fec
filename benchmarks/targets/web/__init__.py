"""Browsers and Node: what opens the page there, and the messages of a run."""
