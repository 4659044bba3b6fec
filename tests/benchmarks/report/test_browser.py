"""The page in a real browser."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from nstc.benchmarks.report.page import render_page
from nstc.benchmarks.report.reruns import make_pictures
from nstc.core import Silent

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

HEIGHT = 2400


def run_browser(folder, page, *options):
    ran = subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert not said
    return ran.stdout


@pytest.fixture
def page(read, make_row, make_quality, make_bundle, photo_set, tmp_path):
    teacher = make_bundle("teacher", {"onnx": 1.0})
    student = make_bundle("student", {"onnx": 0.5})
    row = make_row(
        model=str(student.path),
        artifact="onnx",
        size=32,
        bytes=(student.path / "model.onnx").stat().st_size,
        quality=make_quality(1.2, teacher=str(teacher.path)),
    )
    run = read(row, make_row(80.0, 1.5))
    path = tmp_path / "report.html"
    path.write_text(
        render_page([run], pictures=make_pictures([run], photo_set(3), Silent())), encoding="utf-8"
    )
    return path


def test_the_script_runs_and_says_nothing(page, tmp_path):
    dom = run_browser(tmp_path, page, "--dump-dom")
    assert 'class="scripted"' in dom
    assert dom.count("50 % student, the rest teacher") == 3
    assert re.search(r"clip-path: inset\(0(px)? 50% 0(px)? 0(px)?\)", dom)
    assert '<th scope="col" data-sort="number"><button type="button">#</button>' in dom


@pytest.mark.parametrize(("scheme", "setting"), [("light", 1), ("dark", 0)])
def test_it_is_seen_in_both_schemes(page, tmp_path, scheme, setting):
    shot = tmp_path / f"{scheme}.png"
    run_browser(
        tmp_path,
        page,
        f"--blink-settings=preferredColorScheme={setting}",
        f"--window-size=1280,{HEIGHT}",
        f"--screenshot={shot}",
    )
    with Image.open(shot) as image:
        seen = np.asarray(image.convert("L"))
    assert seen.shape == (HEIGHT, 1280)
    assert (seen.mean() > 128) == (scheme == "light")


def test_a_phone_does_not_scroll_sideways(page, tmp_path):
    """Headless windows are never narrower than 500 px: the page stands in a frame of 390."""
    frame = tmp_path / "phone.html"
    frame.write_text(
        '<body style="margin:0"><iframe style="border:0" width="390" height="2400" '
        f'src="{page.name}"></iframe><script>onload = () => {{'
        "const inner = document.querySelector('iframe').contentDocument.documentElement;"
        "document.title = inner.scrollWidth + ' of ' + inner.clientWidth;}</script>",
        encoding="utf-8",
    )
    dom = run_browser(tmp_path, frame, "--allow-file-access-from-files", "--dump-dom")
    assert "<title>390 of 390</title>" in dom
