import re
import subprocess
import sys

import pytest

from nstc.benchmarks.report.page import caveats_of, named_apart, render_page, write_report
from nstc.benchmarks.report.reruns import make_pictures, profile_rows
from nstc.core import Silent
from nstc.core.errors import OptionError, OutputError

SECTIONS = {"caveats", "frontier", "rows", "pictures", "layers", "protocol"}
HOSTILE = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>"

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "onnx", "skimage", "safetensors"):
    sys.modules[name] = None
from pathlib import Path
from nstc.benchmarks.report.page import write_report
write_report([Path(sys.argv[1])], Path(sys.argv[2]), photos=None)
"""


@pytest.fixture
def full_page(read, make_row, make_quality, make_bundle, photo_set):
    teacher = make_bundle("teacher", {"onnx": 1.0})
    student = make_bundle("student", {"onnx": 0.5})
    row = make_row(
        model=str(student.path),
        artifact="onnx",
        size=32,
        bytes=(student.path / "model.onnx").stat().st_size,
        quality=make_quality(1.2, teacher=str(teacher.path)),
        memory={"peak_bytes": 81_000_000, "allocator": "arena"},
    )
    runs = [read(row, make_row(80.0, 1.5), machine={"cpu": "Clockwork"}), read(name="pi")]
    return render_page(
        runs,
        layers=profile_rows(runs, Silent()),
        pictures=make_pictures(runs, photo_set(3), Silent()),
    )


def test_all_sections_are_there_and_well_formed(full_page, page_of):
    page = page_of(full_page)
    assert SECTIONS | {"details"} <= set(page.sections)
    assert "81.0 MB" in page.sections["rows"]
    assert "arena" in page.sections["details"]
    assert "Clockwork" in page.sections["protocol"]
    assert "Mul" in page.sections["layers"]
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    for _, found in page.tags:
        for name in (found.get("aria-labelledby") or "").split():
            assert name in ids


def test_every_picture_has_its_words_and_every_slider_its_label(full_page, page_of):
    page = page_of(full_page)
    assert len(page.attributes("img")) == 9
    assert all(found["alt"] for found in page.attributes("img"))
    sliders = page.attributes("input")
    assert len(sliders) == 3
    assert all(found["type"] == "range" and found["aria-label"] for found in sliders)


def test_nothing_is_fetched(full_page, page_of):
    for _, found in page_of(full_page).tags:
        for name in ("src", "href", "data", "action", "srcset"):
            link = found.get(name) or "#"
            assert link.startswith(("#", "data:image/jpeg;base64,")), link
    assert not re.search(r"url\((?!#)|@import", full_page)
    assert "default-src 'none'" in full_page


def test_hostile_names_are_only_words(read, make_row, make_quality, page_of):
    row = make_row(
        model=HOSTILE,
        artifact=HOSTILE,
        target=HOSTILE,
        quality=make_quality(1.0, teacher=HOSTILE, style_source="outputs"),
        **{HOSTILE: HOSTILE},
    )
    run = read(row, machine={HOSTILE: HOSTILE})
    text = render_page(named_apart([run, run]))
    page = page_of(text)
    assert len(page.attributes("script")) == 1
    assert not page.attributes("img")
    assert "<script>alert" not in text
    assert HOSTILE[:30] in page.sections["rows"]
    assert not any(key.startswith("on") for _, found in page.tags for key in found)


def test_without_pictures_layers_and_rows_the_sections_say_so(read, page_of, make_result):
    run = read(quality=None)
    page = page_of(render_page([run]))
    assert "without pictures" in page.sections["pictures"]
    assert "without layer times" in page.sections["layers"]
    empty = page_of(render_page([named_apart([run])[0].__class__(**{**vars(run), "rows": ()})]))
    assert "no rows" in empty.sections["rows"]
    assert "nothing to plot" in empty.sections["frontier"]


def test_the_reader_is_warned(read, make_row, make_quality):
    outputs = make_quality(1.0, style_source="outputs", sampled_photos={"flicker_ratio": 8})
    monday = read(make_row(quality=outputs), make_row(quality=None))
    warned = " ".join(caveats_of([monday]))
    assert "12 photographs only" in warned
    assert "mean of its own pictures" in warned
    assert "flicker_ratio was measured on 8" in warned
    assert "1 of 2 rows were not judged" in warned
    other = read(name="pi", machine={"cpu": "Cortex"}, protocol={"id": "ffff"})
    compared = " ".join(caveats_of([monday, other]))
    assert "different protocols" in compared
    assert "different machines" in compared
    calm = read(make_row(quality=make_quality(1.0, photos=20)))
    assert caveats_of([calm]) == []


def test_the_same_files_give_the_same_page_whole_or_not_at_all(write_result, make_result, tmp_path):
    file = write_result(make_result())
    for name in ("a.html", "b.html"):
        write_report([file], tmp_path / "out" / name, photos=None, layers=False)
    first, second = ((tmp_path / "out" / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.html", "b.html"]
    with pytest.raises(OutputError):
        write_report([file], tmp_path / "out" / "a.html" / "x.html", photos=None, layers=False)


def test_results_are_never_overwritten(write_result, make_result):
    file = write_result(make_result())
    before = file.read_bytes()
    with pytest.raises(OptionError, match="name of its own"):
        write_report([file], file, photos=None)
    assert file.read_bytes() == before


def test_nothing_to_report(tmp_path):
    with pytest.raises(OptionError, match="nothing to report"):
        write_report([], tmp_path / "x.html", photos=None)


def test_runs_of_one_name_are_numbered(read):
    names = [run.name for run in named_apart([read(), read(name="pi"), read()])]
    assert names == ["monday 1", "pi", "monday 2"]


def test_a_report_needs_no_torch(write_result, make_result, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, write_result(make_result()), tmp_path / "x.html"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "x.html").is_file()
