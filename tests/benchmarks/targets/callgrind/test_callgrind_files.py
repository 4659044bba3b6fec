"""What callgrind writes, as recorded, and as nobody should have written it."""

import pytest

from nstc.benchmarks.targets.callgrind import counting

# Of Valgrind 3.19 on ONNX Runtime 1.32, shortened.
RECORDED = """# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 9281
cmd:  /usr/bin/python3 -P -B counted.py
part: 1


desc: I1 cache:
desc: Trigger: Program termination

positions: line
events: Ir
summary: 0


ob=/usr/lib/python3/onnxruntime_pybind11_state.so
fl=???
fn=0x00000000012f4bc0
0 782383432
cob=/usr/lib/x86_64-linux-gnu/libc.so.6
cfi=./malloc/./malloc/malloc.c
cfn=malloc
calls=14 3301
0 1820
cfn=0x0000000001312a40
calls=1 0
0 5

fn=std::_Hash_bytes(void const*, unsigned long, unsigned long)
0 7038438

fl=./malloc/./malloc/malloc.c
fn=_int_free
4345 32929365
fi=./malloc/./malloc/arena.c
4421 11
fe=./malloc/./malloc/malloc.c
4346 2

fn=???
128 2

totals: 822351250
"""


@pytest.fixture
def read(tmp_path):
    def run(text):
        file = tmp_path / "1.callgrind"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return counting.read_functions(file)

    return run


def test_a_function_is_the_sum_of_its_lines_without_what_it_calls(read):
    assert read(RECORDED) == {
        "without a name": 782_383_434,
        "std::_Hash_bytes(void const*, unsigned long, unsigned long)": 7_038_438,
        "_int_free": 32_929_378,
    }


def test_spaces_at_the_end_of_a_line_do_not_matter(read):
    assert read(RECORDED.replace("\n", " \n")) == read(RECORDED)


@pytest.mark.parametrize("kept", [0, 1, 12, 20, 24, 27, 40])
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
        ("totals: 822351250", "totals: 822351250\ntotals: 822351250"),
        ("totals: 822351250", "totals: 822351250\n0 1"),
        ("fn=0x00000000012f4bc0\n0 782383432", "0 782383432"),
        ("calls=14 3301", "calls=14"),
        ("calls=14 3301", "calls=14 +3"),
        ("positions: line", "positions: instr line"),
        ("cmd:", "\x00cmd:"),
    ],
)
def test_another_form_is_refused(read, old, new):
    assert old in RECORDED
    with pytest.raises(ValueError, match="callgrind's file has a line"):
        read(RECORDED.replace(old, new, 1))


def test_a_call_without_what_it_took_is_refused(read):
    with pytest.raises(ValueError, match="has a call and then 'cfn="):
        read(RECORDED.replace("0 1820\n", ""))


def test_a_sum_that_is_not_the_total_is_refused(read):
    with pytest.raises(ValueError, match="822351249 of 822351250"):
        read(RECORDED.replace("128 2", "128 1"))


def test_names_are_short_and_of_characters_that_can_be_shown(read):
    name = "\x1b[31m" + "x" * 5000
    (found,) = read(f"fn={name}\n0 5\ntotals: 5\n")
    assert found == "[31m" + "x" * 76


def test_a_file_of_other_bytes_is_refused(read):
    with pytest.raises(ValueError, match="has a line"):
        read(b"\xff\xfe\x00" * 100)


def test_a_file_that_is_too_large_is_refused_unread(read, monkeypatch):
    monkeypatch.setattr(counting, "_FILE_BYTES", 100)
    with pytest.raises(ValueError, match="has 678 bytes"):
        read(RECORDED)
