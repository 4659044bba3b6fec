"""Measuring on another machine: what is sent there, what runs there, and what it may answer."""
