"""Files within a limit, by the peak memory of a process of their own."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.benchmarks.device_memory import measure_within
from nstc.compress.checking import sample_picture
from nstc.core.bundle import Bundle
from nstc.core.errors import MemoryLimitError
from nstc.core.images import read_picture
from nstc.runtime import bounded_files, streaming
from nstc.runtime.bounded import bounded_painter
from nstc.runtime.bounded_files import stylise_within
from nstc.runtime.memory import parse_bytes
from nstc.runtime.session import open_session

MB = 1_000_000


def large_photo(path: Path, width: int, height: int) -> Path:
    rgb = sample_picture(500, 500)
    rows, columns = -(-height // 500), -(-width // 500)
    whole = np.tile(rgb, (rows, columns, 1))[:height, :width]
    Image.fromarray(whole).save(path, quality=90)
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_photo(tmp_path_factory.mktemp("photo") / "photo.jpg", 1203, 901)


def test_the_least_that_a_refusal_names_is_kept_to(
    photo: Path, tiles_bundle: Bundle, tmp_path: Path, nstc_stylize
) -> None:
    target = tmp_path / "out.png"
    refused = nstc_stylize(photo, target, "--max-ram", "1MB")
    assert refused.returncode == 54
    named = re.search(r"give --max-ram (\d+MB)", refused.stderr)
    assert named is not None, refused.stderr
    limit = parse_bytes(named[1]) + 2 * MB  # what a process holds differs by some pages
    done = measure_within(photo, target, tiles_bundle.path, limit_bytes=limit)
    assert done.tiles > 1
    assert (done.height, done.width) == (901, 1203)
    assert 0.75 * done.predicted_bytes < done.peak_bytes <= done.predicted_bytes <= limit
    whole = measure_within(photo, tmp_path / "whole.png", tiles_bundle.path, limit_bytes=1000 * MB)
    assert whole.tiles == 1
    assert limit < whole.peak_bytes <= whole.predicted_bytes
    tiled, untiled = (read_picture(tmp_path / name).rgb for name in ("out.png", "whole.png"))
    assert np.array_equal(tiled, untiled)
    shipped = open_session(tiles_bundle, threads=1).run(read_picture(photo).rgb)
    assert np.abs(shipped.astype(int) - tiled).max() <= 1


@pytest.fixture
def nstc_stylize(tiles_bundle: Bundle):
    def run(photo: Path, target: Path, *options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "nstc", "stylize", photo, "-o", target]
        return subprocess.run(
            [*command, "-m", tiles_bundle.path, "--threads", "1", *options],
            capture_output=True,
            text=True,
        )

    return run


class TestWhatPillowCantDo:
    """Between what Pillow needs, 3 bytes a pixel and more, and what strips need."""

    @pytest.fixture
    def tight(self, tiles_bundle, monkeypatch):
        """A painter that would need the earth for a picture as a whole, and little for strips."""
        monkeypatch.setattr(
            bounded_files,
            "cost_of",
            lambda *_: streaming.PictureCost(decoding=10**12, painting=0, encoding=0),
        )
        return bounded_painter(tiles_bundle, threads=1, limit_bytes=1000 * MB)

    def test_goes_through_in_strips(self, tight, photo, tmp_path) -> None:
        pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        target = tmp_path / "out.png"
        assert stylise_within(photo, target, tight).size == (901, 1203)
        whole = tight.session.run(read_picture(photo).rgb)
        difference = np.abs(read_picture(target).rgb.astype(int) - whole)
        # two decoders of JPEG may round differently, which the network makes more of
        assert np.mean(difference) < 0.5

    def test_says_what_is_missing(self, tight, photo, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        with pytest.raises(MemoryLimitError, match=r'pip install "nstc\[huge\]"'):
            stylise_within(photo, tmp_path / "out.png", tight)

    def test_says_which_files_can_be_written(self, tight, photo, tmp_path) -> None:
        pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        with pytest.raises(MemoryLimitError, match="A JPEG, PNG or TIFF file"):
            stylise_within(photo, tmp_path / "out.webp", tight)

    def test_says_why_strips_will_not_do(self, tight, tmp_path) -> None:
        pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        path = tmp_path / "alpha.png"
        Image.fromarray(sample_picture(60, 40)).convert("RGBA").save(path)
        with pytest.raises(MemoryLimitError, match="it has an alpha channel"):
            stylise_within(path, tmp_path / "out.png", tight)


@pytest.mark.memory
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
class TestAHundredMegapixels:
    """12000 x 9000, of which the decoded picture alone is 324 MB."""

    @pytest.mark.parametrize(("limit", "with_pillow"), [(900 * MB, True), (400 * MB, False)])
    def test_stays_within(
        self, tiles_bundle: Bundle, tmp_path: Path, limit: int, with_pillow: bool
    ) -> None:
        scan = large_photo(tmp_path / "scan.jpg", 12_000, 9_000)
        if not with_pillow:
            pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        target = tmp_path / "out.jpg"
        done = measure_within(scan, target, tiles_bundle.path, limit_bytes=limit)
        print(f"limit {limit / MB:.0f} MB: {done}")  # noqa: T201  (a figure for the documentation)
        assert (done.height, done.width) == (9_000, 12_000)
        assert done.peak_bytes <= limit
        assert 0.75 * done.predicted_bytes < done.peak_bytes <= done.predicted_bytes
        with Image.open(target) as image:
            assert image.size == (12_000, 9_000)
