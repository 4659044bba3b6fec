"""`nstc stylize --ray` and `--report` as users type them, and what goes wrong before Ray starts."""

import json
import sys

import numpy as np
import pytest

from nstc.runtime.files.archives import stylize_archived
from nstc.runtime.files.batch import MadeBefore, PictureOutcome
from nstc.runtime.stylizer import Stylizer


@pytest.fixture
def folder(save_picture, pixels, tmp_path, monkeypatch):
    """A good photograph and a broken one, in the working folder."""
    save_picture(pixels, "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def on_ray(bundle, nstc, monkeypatch):
    """Runs `nstc stylize`; gives what would have been done on Ray."""

    def run(*arguments):
        asked = []

        def ask(inputs, output, _opening, _options, flags, *_rest) -> None:
            asked.append((flags.ray, inputs, output))

        monkeypatch.setattr("nstc.cli.verbs.pictures.stylize.stylize_archive", ask)
        done = nstc("stylize", *arguments, "-m", bundle.path)
        assert done.code == 0, done.err
        return asked

    return run


class TestTheAddress:
    def test_it_may_be_left_out_anywhere(self, on_ray) -> None:
        expected = [("local", ["in"], "out")]
        assert on_ray("in", "-o", "out", "--ray") == expected
        assert on_ray("in", "--ray", "-o", "out") == expected
        assert on_ray("--ray", "in", "-o", "out") == expected

    def test_it_is_the_next_word_if_that_is_one(self, on_ray) -> None:
        assert on_ray("--ray", "auto", "in", "-o", "out") == [("auto", ["in"], "out")]
        assert on_ray("in", "-o", "out", "--ray=ray://head:10001")[0][0] == "ray://head:10001"
        assert on_ray("in", "--ray", "head:6379", "-o", "out")[0][0] == "head:6379"

    def test_an_address_without_its_port_is_no_photograph(self, on_ray) -> None:
        assert on_ray("in", "--ray", "ray://head", "-o", "out") == [("ray://head", ["in"], "out")]


class TestWithoutRay:
    def test_it_is_not_installed(self, nstc, bundle, folder, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        done = nstc("stylize", "in", "-m", bundle.path, "-o", "out", "--ray")
        assert (done.code, done.error) == (
            5,
            'nstc: ray is not installed: run  pip install "nstc[ray]"',
        )
        assert not (folder / "out").exists()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["list.txt", "-o", "out"], "list.txt is a list of pictures, which nstc reads on Ray"),
            (["s3://b/in", "-o", "out"], "s3://b/in is in an object store, which nstc reads on"),
            (["in", "-o", "s3://b/out"], "s3://b/out is in an object store"),
            (["in", "-o", "out", "--workers", "2"], "--workers is of Ray: give --ray too"),
            (["in", "-o", "out", "--ray", "--workers", "0"], "workers is 0: expected 1 to 100000"),
            (["in", "-o", "out", "--ray=head"], "ray is head: expected ray://HOST:10001"),
            (["in", "-o", "-", "--ray"], "-o - takes one picture"),
            (["-", "-o", "out", "--ray"], "- is one picture"),
            (["film.mp4", "-o", "out.mp4", "--ray"], "--ray applies to pictures only"),
            (["film.mp4", "-o", "a.mp4", "--report", "r.jsonl"], "--report applies to pictures"),
            (["in", "-o", "out", "--report", "report.csv"], "ends in .jsonl or .parquet"),
            (["in", "-o", "out", "--report", "s3://b/r.jsonl"], "expected a file of this machine"),
            (["bad.jsonl", "-o", "out", "--ray"], "bad.jsonl, line 1, has no column path"),
            (["bad.jsonl", "-o", "o", "--ray", "--report", "bad.jsonl"], "lists the photographs"),
            (["in/a.png", "-o", "gcs://b/out", "--ray"], "expected a folder, s3://... or gs://"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, arguments, told, nstc, bundle, folder) -> None:
        (folder / "bad.jsonl").write_text('{"image": "a.png"}\n', encoding="utf-8")
        done = nstc("stylize", *arguments, "-m", bundle.path)
        assert done.code == 3
        assert told in done.error
        assert not (folder / "out").exists()


def test_the_report_of_a_plain_run(nstc, bundle, folder) -> None:
    done = nstc("stylize", "in", "-m", bundle.path, "-o", "out", "--report", "report.jsonl")
    assert done.code == 12
    good, bad = map(json.loads, (folder / "report.jsonl").read_text().splitlines())
    assert (good["path"], good["outcome"], good["output"]) == ("in/a.png", "done", "out/a.png")
    assert (bad["path"], bad["outcome"]) == ("in/b.png", "failed")
    assert bad["error"] == done.err.splitlines()[0]


def test_notes_are_told_at_the_end_and_reported(
    nstc, bundle, folder, save_picture, pixels, monkeypatch
) -> None:
    def here(jobs, work, _address, _workers, on_outcome, *_rest) -> None:
        stylizer = Stylizer(bundle.path, threads=1)
        for job in jobs:
            on_outcome(stylize_archived(job, stylizer, work.options, MadeBefore("settings")))

    monkeypatch.setattr("nstc.runtime.files.ray_batch.stylize_on_ray", here)
    for name in ("a", "c"):
        save_picture(np.dstack([pixels, pixels[..., :1]]), f"in/{name}.png")
    call = ("stylize", "in", "-m", bundle.path, "-o", "out", "--format", "jpeg", "--ray")
    done = nstc(*call, "--report", "report.jsonl")
    lost = "transparency is lost: JPEG holds none"
    assert f"out/a.jpg: {lost} (and 1 more like it)" in done.err.splitlines()
    rows = map(json.loads, (folder / "report.jsonl").read_text().splitlines())
    assert [row["notes"] for row in rows] == [lost, None, lost]
    for path in (folder / "out").iterdir():
        path.touch()  # so that its record does not fit
    done = nstc("stylize", "in/a.png", *call[2:])
    assert "out/a.jpg: made with settings that are not recorded here" in done.err


def test_notes_that_differ_by_their_numbers_are_one(nstc, bundle, folder, monkeypatch) -> None:
    def here(_jobs, _work, _address, _workers, on_outcome, *_rest) -> None:
        for number in range(2, 9):
            noted = PictureOutcome(
                source="in/a.tif",
                output=f"out/{number}.tif",
                status="done",
                notes=(f"the first of {number} pages",),
            )
            on_outcome(noted)

    monkeypatch.setattr("nstc.runtime.files.ray_batch.stylize_on_ray", here)
    call = ("stylize", "in", "-m", bundle.path, "-o", "out", "--ray")
    line = "out/2.tif: the first of 2 pages (and 6 more like it{})"
    unnamed = line.format("; give --report to name them")
    assert [own for own in nstc(*call).err.splitlines() if "pages" in own] == [unnamed]
    done = nstc(*call, "--report", "report.jsonl")
    assert [own for own in done.err.splitlines() if "pages" in own] == [line.format("")]
