"""Bundles for others: a hub's card, and sending them there."""
