"""What this process says that it holds."""

import mmap
import subprocess
import sys

import pytest

from nstc.runtime import footprint
from nstc.runtime.footprint import peak_bytes, resident_bytes, tells_peak_memory

HOLDS_AND_FREES = """
from nstc.runtime.footprint import give_back_large_blocks, resident_bytes
give_back_large_blocks()
for _ in range(3):
    block = bytearray(30_000_000)
    del block
sizes = [bytearray(400_000) for _ in range(100)]
pins = [bytearray(100) for _ in range(100)]
before = resident_bytes()
del sizes
print(before - resident_bytes())
"""


def test_a_held_array_is_resident_and_the_peak_outlives_it() -> None:
    before = resident_bytes()
    # Not from the heap, which may have so much left of what ran before.
    with mmap.mmap(-1, 50_000_000) as block:
        for _ in range(50):
            block.write(bytes([1]) * 1_000_000)
        held = resident_bytes()
    assert 48_000_000 < held - before < 54_000_000
    assert peak_bytes() > held - 500_000  # the kernel's counters lag by some pages
    assert held > resident_bytes() + 48_000_000


def test_not_every_system_tells(monkeypatch, tmp_path) -> None:
    assert tells_peak_memory()
    monkeypatch.setattr(footprint, "_STATUS", tmp_path / "nowhere")
    assert not tells_peak_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU allocator's habit")
def test_large_blocks_go_back_to_the_system_whatever_was_freed_before() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HOLDS_AND_FREES], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) > 35_000_000
