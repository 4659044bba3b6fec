import json
import sys

import pytest
from typer.testing import CliRunner

from nstc.cli.app import app
from nstc.core.errors import MissingExtraError, OptionError, PhotosError

RESULT = {
    "schema": "nstc.bench/1",
    "machine": {"cpu": "Clockwork"},
    "protocol": {"id": "0123456789ab", "size": 64},
    "reference": {"model": "zoo:dusk/teacher", "artifact": "onnx", "target": "cpu:2"},
    "rows": [
        {
            "model": "/nowhere/student",
            "artifact": "int8.onnx",
            "target": "cpu:2",
            "size": 64,
            "latency_ms": {"median": 5.0, "iqr": 1.0, "samples": [5.0]},
            "speedup": {"median": 40.0, "low": 39.0, "high": 41.0},
            "bytes": 56_000,
            "quality": None,
        }
    ],
}


def report(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "monday.json"
    path.write_text(json.dumps(RESULT), encoding="utf-8")
    return path


def test_a_page_of_files_that_are_elsewhere(file, tmp_path):
    done = report(file, "-o", tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{tmp_path / 'report.html'}: 0.")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "monday" in page
    assert page.count("/nowhere/student does not exist") == 2


def test_a_page_with_neither_pictures_nor_profiles(file, tmp_path):
    done = report(file, "-o", tmp_path / "r.html", "--no-pictures", "--no-layer-times")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "made without pictures" in page
    assert "made without layer times" in page


def test_all_metrics_have_columns_if_they_are_asked_for(file, tmp_path):
    metrics = {"ssim": 0.7, "color_drift": 9.5}
    quality = {
        **metrics,
        "intervals": {name: {"low": own, "high": own} for name, own in metrics.items()},
        "photos": 12,
        "teacher": "zoo:dusk/teacher",
        "style_source": "painting",
    }
    file.write_text(json.dumps({**RESULT, "rows": [{**RESULT["rows"][0], "quality": quality}]}))
    page, options = tmp_path / "r.html", ("--no-pictures", "--no-layer-times")
    assert report(file, "-o", page, *options).exit_code == 0
    assert "<span>ssim</span>" in page.read_text()
    assert "color_drift" not in page.read_text()
    assert report(file, "-o", page, *options, "--all-metrics").exit_code == 0
    assert "<span>color_drift</span>" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["missing.json", "-o", "x.html"], OptionError),
        (["{file}", "-o", "{file}"], OptionError),
        (["{file}", "-o", "x.html", "--photos", "missing"], PhotosError),
        (["{file}", "-o", "x.pdf"], OptionError),
        (["{file}", "-o", "x.htlm"], OptionError),
    ],
)
def test_errors_reach_the_top(file, tmp_path, monkeypatch, arguments, kind):
    monkeypatch.chdir(tmp_path)
    done = report(*(argument.format(file=file) for argument in arguments))
    assert isinstance(done.exception, kind)
    assert not (tmp_path / "x.html").exists()


def test_a_missing_library_is_named_with_its_extra(file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = report(file, "-o", tmp_path / "x.html")
    assert isinstance(done.exception, MissingExtraError)
    assert 'pip install "nstc[report]"' in str(done.exception)


def test_a_history_needs_no_other_file(file, tmp_path):
    folder = tmp_path / "history"
    folder.mkdir()
    file.rename(folder / "monday.json")
    options = ("-o", tmp_path / "r.html", "--no-pictures", "--no-layer-times")
    done = report("--history", folder, *options)
    assert done.exit_code == 0, done.output
    assert "Over commits" in (tmp_path / "r.html").read_text(encoding="utf-8")
    missing = report("--history", tmp_path / "nowhere", *options)
    assert isinstance(missing.exception, OptionError)
    assert isinstance(report(*options).exception, OptionError)


def test_an_output_is_asked_for(file):
    done = report(file)
    assert done.exit_code == 2
    assert "--output" in done.output
