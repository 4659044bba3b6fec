"""Amounts with a unit."""

import pytest

from nstc.core.amounts import Latency, parse_latency, parse_macs
from nstc.core.errors import OptionError


@pytest.mark.parametrize(
    ("text", "macs"),
    [("400M", 400_000_000), ("1.5G", 1_500_000_000), ("12k", 12_000), ("900000", 900_000)],
)
def test_multiply_accumulates(text: str, macs: int) -> None:
    assert parse_macs(text) == macs


@pytest.mark.parametrize("text", ["", "many", "0", "0G", "-4M", "4T", "4 M", "nan", "1e9"])
def test_what_are_no_multiply_accumulates(text: str) -> None:
    with pytest.raises(OptionError, match=r"target-macs is .*: expected .* such as 400M"):
        parse_macs(text)


@pytest.mark.parametrize("text", ["8ms@cpu:1", "8.0 ms@cpu:1"])
def test_a_latency(text: str) -> None:
    assert parse_latency(text) == Latency(ms=8, target="cpu:1")


@pytest.mark.parametrize(
    "text", ["", "8", "8ms", "8ms@", "@cpu:1", "0ms@cpu:1", "-1ms@cpu", "8s@cpu"]
)
def test_what_is_no_latency(text: str) -> None:
    with pytest.raises(OptionError, match=r"target-latency is .*: expected .* 8ms@cpu:1"):
        parse_latency(text)
