import os
from pathlib import Path

import pytest

from nstc.core.errors import OptionError, OutputError
from nstc.runtime.files.picture_jobs import Source, plan


def targets(photos, output, *, ending=None, many=None) -> list[str | None]:
    sources = [Source(name=p, relative=Path(Path(p).name), path=Path(p)) for p in photos]
    jobs = plan(sources, output, many=len(photos) > 1 if many is None else many, ending=ending)
    return [None if job.output is None else str(job.output) for job in jobs]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_to_a_file() -> None:
    assert targets(["a.png"], "new/out.jpg") == ["new/out.jpg"]


@pytest.mark.parametrize("name", ["out", "v1.2", "out.v2", "run.2026-05-01"])
def test_one_to_a_new_folder(name) -> None:
    assert targets(["a.png"], name) == [f"{name}/a.png"]


def test_one_to_a_folder_that_is_named_like_a_picture(tmp_path) -> None:
    (tmp_path / "out.png").mkdir()
    assert targets(["a.png"], "out.png") == ["out.png/a.png"]


@pytest.mark.parametrize("name", ["out.jgp", "out.png", "out.new"])
def test_a_slash_at_the_end_makes_a_folder(name) -> None:
    assert targets(["a.png"], f"{name}/") == [f"{name}/a.png"]
    assert targets(["a.png", "b.png"], f"{name}/") == [f"{name}/a.png", f"{name}/b.png"]


def test_several_go_to_a_folder_of_any_name_that_is_no_pictures() -> None:
    assert targets(["a.png", "b.png"], "out.new") == ["out.new/a.png", "out.new/b.png"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *[("out.jgp", ".jpg"), ("out.jepg", ".jpg"), ("a.pgn", ".png"), ("out.webpp", ".webp")],
        *[("out.new", None), ("out.3gp", None)],
    ],
)
def test_an_ending_that_is_unknown_names_the_nearest_and_makes_no_folder(name, meant) -> None:
    with pytest.raises(OptionError, match="can't tell the format of") as caught:
        targets(["a.png"], name)
    assert f"To make a folder of that name, write {name}/ ." in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == (meant is not None)
    assert meant is None or f"Did you mean {meant}?" in str(caught.value)


def test_several_keep_their_names_and_formats() -> None:
    photos = ["a.png", "b.JPG", "c.webp", "d.gif", "e.avif", "f", "g.heic"]
    kept = ["out/a.png", "out/b.JPG", "out/c.webp", "out/d.gif"]
    assert targets(photos, "out") == [*kept, "out/e.png", "out/f.png", "out/g.heic"]


def test_one_format_for_all() -> None:
    assert targets(["a.png", "b.jpg"], "out", ending=".webp") == ["out/a.webp", "out/b.webp"]


def test_folders_are_kept() -> None:
    source = Source(name="in/june/a.png", relative=Path("june/a.png"), path=Path("in/june/a.png"))
    (job,) = plan([source], "out", many=True)
    assert job.output == Path("out/june/a.png")


def test_standard_output_takes_one() -> None:
    assert targets(["a.png"], "-") == [None]
    with pytest.raises(OptionError, match="-o - takes one picture"):
        targets(["a.png", "b.png"], "-")


class TestRefused:
    def test_two_of_one_name(self) -> None:
        with pytest.raises(OptionError, match=r"june/beach\.jpg and july/beach\.jpg would both"):
            targets(["june/beach.jpg", "july/beach.jpg"], "out")

    def test_two_that_would_get_one_ending(self) -> None:
        with pytest.raises(OptionError, match="would both be written to"):
            targets(["a.avif", "a.png"], "out")

    @pytest.mark.parametrize("output", ["a.png", ".", "./a.png"])
    def test_a_photograph_is_never_overwritten(self, save_picture, pixels, output) -> None:
        save_picture(pixels, "a.png")
        with pytest.raises(OptionError, match="is one of the photographs"):
            targets(["a.png"], output)

    def test_nor_through_a_link(self, save_picture, pixels, tmp_path) -> None:
        photo = save_picture(pixels, "a.png")
        (tmp_path / "link.png").symlink_to(photo)
        with pytest.raises(OptionError, match="is one of the photographs"):
            targets(["a.png"], "link.png")

    def test_links_in_a_circle_are_no_obstacle(self, tmp_path) -> None:
        (tmp_path / "a.png").symlink_to("b.png")
        (tmp_path / "b.png").symlink_to("a.png")
        assert targets(["a.png", "c.png"], "out") == ["out/a.png", "out/c.png"]

    def test_one_file_for_several(self) -> None:
        with pytest.raises(OptionError, match=r"out\.png, one picture, for 2 photographs"):
            targets(["a.png", "b.png"], "out.png")

    def test_one_file_for_a_folder_of_one(self) -> None:
        with pytest.raises(OptionError, match=r"out\.png, one picture, for 1 photographs"):
            targets(["a.png"], "out.png", many=True)

    def test_an_ending_that_is_not_written(self) -> None:
        with pytest.raises(OptionError, match=r"format of .*out\.psd"):
            targets(["a.png"], "out.psd")

    def test_a_format_that_contradicts_the_ending(self) -> None:
        with pytest.raises(OptionError, match=r"output is out\.png, but format is webp"):
            targets(["a.png"], "out.png", ending=".webp")

    def test_a_file_where_a_folder_is_needed(self, tmp_path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OutputError, match="it is a file"):
            targets(["a.png", "b.png"], "file")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root looks everywhere")
    def test_a_folder_that_may_not_be_looked_into(self, tmp_path) -> None:
        (tmp_path / "closed").mkdir(mode=0)
        assert targets(["a.png"], "closed/out.png") == ["closed/out.png"]
