"""Small networks with random weights."""

from small_networks import *  # noqa: F403  (fixtures)
