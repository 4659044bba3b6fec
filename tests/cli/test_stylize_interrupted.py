"""Ctrl-C in the middle of a batch: a real signal to a real process."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
from PIL import Image

COUNT = 12


def test_what_is_done_is_whole_and_the_rest_can_be_made_later(
    nstc, bundle, save_picture, pixels, tmp_path
) -> None:
    first = save_picture(np.tile(pixels, (20, 20, 1)), "in/00.png")
    for number in range(1, COUNT):
        os.link(first, first.with_stem(f"{number:02}"))
    call = ["stylize", tmp_path / "in", "-m", bundle.path, "-o", tmp_path / "out"]
    with subprocess.Popen(
        [sys.executable, "-m", "nstc", *map(str, call)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        rest, told = running.communicate(timeout=300)
    assert running.returncode == 130, told
    listed = len([line, *rest.splitlines()])
    found = re.fullmatch(
        r"nstc: stopped with (\d+) pictures done, which are kept: "
        r"give --skip-existing to resume.\n",
        told,
    )
    assert found, told
    made = sorted((tmp_path / "out").iterdir())
    # The signal may come between a picture, its count and its line.
    assert 0 < listed <= int(found[1]) <= len(made) <= listed + 1 < COUNT
    assert [path.name for path in made] == [f"{number:02}.png" for number in range(len(made))]
    for path in made:
        with Image.open(path) as painted:
            assert painted.size == (1060, 740)
            painted.load()
    again = nstc(*call, "--skip-existing")
    assert f"{COUNT - len(made)} done, {len(made)} skipped, 0 failed" in again.err
