"""Small servers that answer as they are told."""

from answering_servers import served, served_over_tls
from stub_hub import stub_hub

__all__ = ["served", "served_over_tls", "stub_hub"]  # fixtures
