import pytest

from nstc.benchmarks.table import (
    byte_count,
    count,
    fact,
    fine,
    key_words,
    short_names,
    three_digits,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (586.4, "586"),
        (100, "100"),
        (40.31, "40.3"),
        (10, "10.0"),
        (-10, "-10.0"),
        (1.684, "1.68"),
        (0.07, "0.07"),
    ],
)
def test_three_digits_count(number, text):
    assert three_digits(number) == text


def test_small_numbers_keep_what_tells_them_apart():
    assert (fine(0.00213), fine(0.0), fine(1.5)) == ("0.00213", "0.00", "1.50")


def test_units():
    assert (count(57_912), count(7), byte_count(81_300), byte_count(12)) == (
        "57.9k",
        "7",
        "81.3 KB",
        "12 B",
    )


def test_any_json_value_is_a_line():
    assert [fact(value) for value in (None, True, 2, 0.5, "x", [1, "y"], "ab" * 32)] == [
        "–",
        "yes",
        "2",
        "0.50",
        "x",
        "1, y",
        "abababababab…",
    ]
    assert fact(list(range(100))).endswith("11, … (100 in all)")
    assert key_words("latency_ms.median") == "latency ms, median"


def test_names_are_as_short_as_they_stay_apart():
    assert short_names(["zoo:dusk", "/a/b/student", "/a/c/student"]) == [
        "zoo:dusk",
        "b/student",
        "c/student",
    ]
    assert short_names([]) == []
    hashes = [f"#sha256={digit * 64}" for digit in "12"]
    addresses = [f"https://host/{name}.zip{hashes[0]}" for name in ("dusk", "dawn")]
    assert short_names(addresses) == ["dusk.zip", "dawn.zip"]
    changed = [f"https://host/dusk.zip{own}" for own in hashes]
    assert short_names([*changed, "runs/dawn"]) == [*changed, "dawn"]
