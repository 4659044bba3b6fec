"""What cachegrind writes, as recorded, and as nobody should have written it."""

import pytest

from nstc.benchmarks.targets.cachegrind import counting

# Of Valgrind 3.19 on ONNX Runtime 1.23, shortened.
RECORDED = """desc: I1 cache:         32768 B, 64 B, 8-way associative
desc: D1 cache:         49152 B, 64 B, 12-way associative
desc: LL cache:         276824064 B, 64 B, 33-way associative
cmd: /usr/bin/python3 -P -B counted.py
events: Ir
fl=???
fn=???
0 782383432
fn=std::_Hash_bytes(void const*, unsigned long, unsigned long)
0 7038438
fl=./malloc/./malloc/malloc.c
fn=_int_free
4345 32929365
fi=./malloc/./malloc/arena.c
4421 11
fe=./malloc/./malloc/malloc.c
4346 2
fl=./csu/../csu/libc-start.c
fn=???
128 2
summary: 822351250
"""


@pytest.fixture
def read(tmp_path):
    def run(text):
        file = tmp_path / "1.cachegrind"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return counting.read_functions(file)

    return run


def test_a_function_is_the_sum_of_its_lines(read):
    assert read(RECORDED) == {
        "without a name": 782_383_434,
        "std::_Hash_bytes(void const*, unsigned long, unsigned long)": 7_038_438,
        "_int_free": 32_929_378,
    }


@pytest.mark.parametrize("kept", [0, 1, 5, 8, 12, 19])
def test_a_truncated_file_is_refused_wherever_it_ends(read, kept):
    with pytest.raises(ValueError, match="is not whole"):
        read("".join(RECORDED.splitlines(keepends=True)[:kept]))


def test_a_file_that_ends_within_a_number_is_refused(read):
    with pytest.raises(ValueError, match="is not whole"):
        read(RECORDED[:-4])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0 7038438", "0 -7038438"),
        ("0 7038438", f"0 {'9' * 5000}"),
        ("0 7038438", "0 7038438 3"),
        ("0 7038438", "0 7e6"),
        ("0 7038438", "0 ٣"),
        ("events: Ir", "events: Ir I1mr ILmr"),
        ("summary: 822351250", "summary: 822351250\nsummary: 822351250"),
        ("summary: 822351250", "summary: 822351250\n0 1"),
        ("fl=???\nfn=???\n0 782383432", "0 782383432"),
        ("cmd:", "\x00cmd:"),
    ],
)
def test_another_form_is_refused(read, old, new):
    assert old in RECORDED
    with pytest.raises(ValueError, match="cachegrind's file has a line"):
        read(RECORDED.replace(old, new, 1))


def test_a_sum_that_is_not_the_summary_is_refused(read):
    with pytest.raises(ValueError, match="822351249 of 822351250"):
        read(RECORDED.replace("128 2", "128 1"))


def test_names_are_short_and_of_characters_that_can_be_shown(read):
    name = "\x1b[31m" + "x" * 5000
    (found,) = read(f"fn={name}\n0 5\nsummary: 5\n")
    assert found == "[31m" + "x" * 76


def test_a_file_of_other_bytes_is_refused(read):
    with pytest.raises(ValueError, match="has a line"):
        read(b"\xff\xfe\x00" * 100)


def test_a_file_that_is_too_large_is_refused_unread(read, monkeypatch):
    monkeypatch.setattr(counting, "_FILE_BYTES", 100)
    with pytest.raises(ValueError, match="has 518 bytes"):
        read(RECORDED)
