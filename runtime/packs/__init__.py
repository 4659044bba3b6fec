"""Packs of styles: one integer graph, and for each style the numbers that are its own."""
