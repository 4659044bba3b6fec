"""Stylising files: folders, streams and addresses in, files out, many at a time."""
