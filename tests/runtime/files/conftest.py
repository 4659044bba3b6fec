"""A stylizer whose network gives the negative, and a small server that answers as it is told."""

import pytest
from answering_servers import served, served_over_tls

from nstc.runtime.stylizer import Stylizer

__all__ = ["served", "served_over_tls"]  # fixtures


@pytest.fixture
def stylizer(bundle) -> Stylizer:
    return Stylizer(bundle, threads=1)
