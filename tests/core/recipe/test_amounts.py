"""Amounts with a unit."""

import pytest

from nstc.core.errors import OptionError
from nstc.core.recipe import PruneRecipe
from nstc.core.recipe.settings import Latency, parse_bytes, parse_latency, parse_macs


@pytest.mark.parametrize(
    ("text", "macs"),
    [("400M", 400_000_000), ("1.5G", 1_500_000_000), ("12k", 12_000), ("900000", 900_000)],
)
def test_multiply_accumulates(text: str, macs: int) -> None:
    assert parse_macs(text) == macs


@pytest.mark.parametrize(
    "text", ["", "many", "0", "0G", "-4M", "4T", "4 M", "nan", "1e9", "9" * 400]
)
def test_what_are_no_multiply_accumulates(text: str) -> None:
    with pytest.raises(OptionError, match=r"target-macs is .*: expected .* such as 400M"):
        PruneRecipe(target_macs=text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MB", 256_000_000),
        ("256 mb", 256_000_000),
        ("1.5GB", 1_500_000_000),
        ("64MiB", 67_108_864),
        ("900KB", 900_000),
        ("1GiB", 2**30),
        (".5 GB", 500_000_000),
    ],
)
def test_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "256", "MB", "-1MB", "0MB", "nanMB", "infGB", "1TB", "1e99GB", "9" * 30 + "GB"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(OptionError, match="expected a size such as 256MB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["8ms@cpu:1", "8.0 ms@cpu:1"])
def test_a_latency(text: str) -> None:
    assert parse_latency(text) == Latency(ms=8, target="cpu:1")


@pytest.mark.parametrize(
    "text", ["", "8", "8ms", "8ms@", "@cpu:1", "0ms@cpu:1", "-1ms@cpu", "8s@cpu"]
)
def test_what_is_no_latency(text: str) -> None:
    with pytest.raises(OptionError, match=r"target-latency is .*: expected .* 8ms@cpu:1"):
        PruneRecipe(target_latency=text)
