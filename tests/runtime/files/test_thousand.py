"""A thousand photographs with fifty broken ones among them, by the shipped student."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COUNT, BROKEN = 1000, 50
SETTLED, GROWTH_MB = 200, 8.0
"""After so many files all caches are full; what grows from then on is a leak."""

PROGRAM = """
import json, sys
from nstc.core.images import MAX_PIXELS
from nstc.runtime.files.batch import stylize_files
from nstc.runtime.stylizer import Stylizer

def resident_mb():
    with open("/proc/self/statm") as counts:
        return int(counts.read().split()[1]) * 4096 / 1e6

sizes = []
outcomes = stylize_files(
    ["in"], "out", Stylizer(threads=1), on_outcome=lambda _outcome: sizes.append(resident_mb())
)
print(json.dumps({
    "resident_mb": sizes,
    "failed": {o.source: [type(o.error).__name__, str(o.error)] for o in outcomes if o.error},
    "done": sum(o.status == "done" for o in outcomes),
}))
"""


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    """Files of five formats and many sizes; gives the names of the broken ones."""
    rng = np.random.default_rng(0)
    broken = set(rng.choice(COUNT, BROKEN, replace=False).tolist())
    (tmp_path / "in").mkdir()
    names = []
    for index in range(COUNT):
        ending = ("jpg", "png", "webp", "tif", "bmp")[index % 5]
        height, width = rng.integers(24, 80, 2)
        path = tmp_path / "in" / f"{index:04}.{ending}"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        if index in broken:
            content = path.read_bytes()
            path.write_bytes((content[: len(content) // 2], b"", b"text", bytes(99))[index % 4])
            names.append(f"in/{path.name}")
    return names


@pytest.mark.batch
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_all_good_ones_are_done_in_flat_memory(photographs, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sorted(told["failed"]) == photographs
    assert all(
        kind == "ImageError" and source in message
        for source, (kind, message) in told["failed"].items()
    )
    assert told["done"] == len(list((tmp_path / "out").iterdir())) == COUNT - BROKEN
    settled, last = told["resident_mb"][SETTLED], told["resident_mb"][-1]
    sys.stderr.write(f"resident: {settled:.1f} MB after {SETTLED}, {last:.1f} MB after {COUNT}\n")
    assert last - settled < GROWTH_MB


@pytest.mark.batch
def test_the_command_line_says_the_same(photographs, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nstc", "stylize", "in", "-o", "out", "--threads", "1", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 12
    told = json.loads(done.stdout)
    assert (told["done"], told["failed"]) == (COUNT - BROKEN, BROKEN)
    lines = done.stderr.splitlines()
    assert len(lines) == BROKEN + 2  # one each, the counts, and the error
    assert {line.split()[0] for line in lines[:BROKEN]} == set(photographs)
