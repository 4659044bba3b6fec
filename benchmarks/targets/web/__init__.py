"""Browsers and Node: the page that runs a network there, its server and its answers."""
