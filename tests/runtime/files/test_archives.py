"""Which pictures an archive holds, where their results go, and what happens to one of them."""

import json
import os
from pathlib import Path

import fsspec
import pytest

from nstc.core.errors import AccessError, ImageError, OptionError
from nstc.runtime.control import PLAIN
from nstc.runtime.files.archives import find_archived, plan_archived, stylize_archived
from nstc.runtime.files.batch import BatchOptions, MadeBefore, settings_of
from nstc.runtime.stylizer import Stylizer


@pytest.fixture
def store():
    """The store in memory, empty before and after."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Places of the results, below `out`, of what a list in the folder `in` lists."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()

    def places(*rows: str | dict[str, str], **options: str) -> list[str]:
        lines = [json.dumps(row if isinstance(row, dict) else {"path": row}) for row in rows]
        (tmp_path / "in/list.jsonl").write_text("\n".join(lines), encoding="utf-8")
        jobs = plan_archived(find_archived(["in/list.jsonl"], "out"), "out", **options)
        for job in jobs:
            if job.source.failure is not None:
                raise job.source.failure
        return [job.place for job in jobs]

    return places


class TestNames:
    def test_relative_paths_begin_at_the_list_and_are_kept(self, listed) -> None:
        assert listed("a.jpg", "b/c.png", "./d//e.webp") == [
            "out/a.jpg",
            "out/b/c.png",
            "out/d/e.webp",
        ]

    def test_paths_from_the_root_are_kept_whole(self, listed) -> None:
        assert listed("/data/x/a.jpg", "/data/y/a.jpg") == [
            "out/data/x/a.jpg",
            "out/data/y/a.jpg",
        ]

    def test_one_beside_the_lists_folder_is_as_from_the_root(self, listed, tmp_path) -> None:
        assert listed("../other/a.jpg") == [f"out{tmp_path}/other/a.jpg"]

    def test_addresses_are_kept_without_their_scheme(self, listed) -> None:
        assert listed("s3://bucket/k/a.jpg", "http://[x/c.jpg", "https://a.org/b.jpg?size=3") == [
            "out/bucket/k/a.jpg",
            "out/[x/c.jpg",
            "out/a.org/b.jpg",
        ]

    def test_the_list_names_results(self, listed) -> None:
        rows = [{"path": "a.jpg", "output": "x/1.png"}, {"path": "a.jpg", "output": "x/2"}]
        assert listed(*rows) == ["out/x/1.png", "out/x/2.png"]

    def test_another_format(self, listed) -> None:
        assert listed("a.jpg", "b.png", ending=".webp") == ["out/a.webp", "out/b.webp"]

    @pytest.mark.parametrize(
        "output",
        [
            "../a.png",
            "x/../../a.png",
            "/etc/a.png",
            "",
            "x\\a.png",
            "..\\a.png",
            "\\\\host\\share\\a.png",
            "C:\\x.png",
            "C:/x.png",
            "C:x.png",
            "x/c:a.png",
            "c:",
        ],
    )
    def test_none_leads_out_of_the_output_folder(self, output, listed) -> None:
        with pytest.raises(OptionError, match=r"leads out of the output folder|no text in output"):
            listed({"path": "a.jpg", "output": output})

    def test_a_time_of_day_is_no_drive(self, listed) -> None:
        rows = ["7:05.jpg", "x/7:06.jpg", {"path": "a.jpg", "output": "7:07.jpg"}]
        assert listed(*rows) == ["out/7:05.jpg", "out/x/7:06.jpg", "out/7:07.jpg"]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
    def test_a_file_of_a_folder_keeps_the_name_it_has(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("in").mkdir()
        Path("in/a:b.jpg").touch()
        (job,) = plan_archived(find_archived(["in"], "out"), "out")
        assert (job.source.failure, job.place) == (None, "out/a:b.jpg")

    def test_an_objects_name_leads_nowhere_either(self, listed) -> None:
        with pytest.raises(OptionError, match="leads out of the output folder"):
            listed("s3://bucket/../../a.jpg")

    @pytest.mark.parametrize(
        "row", [{"path": "\ud800.jpg"}, {"path": "a\0.jpg", "output": "x.jpg"}]
    )
    def test_what_can_be_no_name_is_a_picture_that_failed(self, row, listed) -> None:
        with pytest.raises(ImageError, match=r"can't be the name of a file"):
            listed(row)

    def test_two_results_of_one_name_are_refused(self, listed) -> None:
        with pytest.raises(OptionError, match=r"in/a.jpg and in/a.png would both be written to"):
            listed("a.jpg", "a.png", ending=".png")

    def test_one_bad_name_does_not_hinder_the_others(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        rows = [{"path": "a.jpg", "output": "../x.jpg"}, {"path": "b.jpg"}]
        Path("list.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        bad, good = plan_archived(find_archived(["list.jsonl"], "out"), "out")
        assert isinstance(bad.source.failure, OptionError)
        assert (good.source.failure, good.place) == (None, "out/b.jpg")

    def test_a_name_that_is_not_utf_8(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("list.txt").write_bytes(b"caf\xe9.jpg\n")
        (job,) = plan_archived(find_archived(["list.txt"], "out"), "out")
        assert os.fsencode(job.output) == b"out/caf\xe9.jpg"


class TestStores:
    @pytest.fixture
    def photos(self, store, save_picture, pixels):
        for name in ("a.png", "b/c.png", ".d.png", "b/e.txt"):
            content = save_picture(pixels, "photo.png").read_bytes()
            store.pipe_file(f"/in/{name}", content)

    def test_a_prefix_is_as_a_folder(self, photos) -> None:
        jobs = plan_archived(find_archived(["memory://in/"], "memory://out"), "memory://out/")
        assert [job.place for job in jobs] == ["memory://out/a.png", "memory://out/b/c.png"]

    def test_results_are_no_photographs(self, photos) -> None:
        (found,) = find_archived(["memory://in"], "memory://in/b/")
        assert found.name == "memory://in/a.png"
        with pytest.raises(OptionError, match="memory://in/ holds the photographs"):
            find_archived(["memory://in/"], "memory://in")

    def test_a_key_may_have_marks_of_addresses(self, store) -> None:
        store.pipe_file("/in/list.txt", b"memory://in/k#1.jpg\nmemory://in/k#2.jpg\n")
        jobs = plan_archived(find_archived(["memory://in/list.txt"], "out"), "out")
        assert [job.place for job in jobs] == ["out/in/k#1.jpg", "out/in/k#2.jpg"]

    def test_a_pattern(self, photos) -> None:
        (found,) = find_archived(["memory://in"], "out", pattern="b/*.png")
        assert found.name == "memory://in/b/c.png"
        with pytest.raises(ImageError, match="no pictures below memory://in: no object there is"):
            find_archived(["memory://in"], "out", pattern="*.jpg")

    def test_one_object(self, photos) -> None:
        (job,) = plan_archived(find_archived(["memory://in/b/c.png"], "out"), "out")
        assert job.place == "out/c.png"

    def test_a_list_in_a_store(self, store, photos) -> None:
        store.pipe_file("/in/list.txt", b"a.png\nmemory://in/b/c.png\n")
        sources = find_archived(["memory://in/list.txt"], "out")
        assert [source.name for source in sources] == ["memory://in/a.png", "memory://in/b/c.png"]
        store.pipe_file("/in/list.txt", b"/etc/passwd.png\n")
        with pytest.raises(OptionError, match="a path of this machine"):
            find_archived(["memory://in/list.txt"], "out")


def test_what_is_no_archive(tmp_path) -> None:
    with pytest.raises(OptionError, match="- is one picture"):
        find_archived(["-"], "out")
    with pytest.raises(OptionError, match="no photographs were given"):
        find_archived([], "out")
    with pytest.raises(OptionError, match="-o - takes one picture"):
        plan_archived([], "-")


class TestOnePicture:
    @pytest.fixture
    def run(self, bundle):
        """Stylises what is named, into a place; the outcomes."""
        stylizer, options = Stylizer(bundle.path, threads=1), BatchOptions(skip_existing=True)

        def stylize(given, place):
            before = MadeBefore(settings_of(stylizer, PLAIN, keep_metadata=False))
            jobs = plan_archived(find_archived([str(given)], str(place)), str(place))
            return [stylize_archived(job, stylizer, options, before) for job in jobs]

        return stylize

    def test_from_a_store_to_a_store_is_the_same_as_from_file_to_file(
        self, run, store, save_picture, pixels, tmp_path
    ) -> None:
        photo = save_picture(pixels, "in/a.png")
        store.pipe_file("/in/a.png", photo.read_bytes())
        (stored,) = run("memory://in", "memory://out")
        (filed,) = run(photo.parent, tmp_path / "out")
        assert (stored.status, stored.output) == ("done", "memory://out/a.png")
        assert (stored.width, stored.height) == (filed.width, filed.height) == (53, 37)
        assert store.cat_file("/out/a.png") == (tmp_path / "out/a.png").read_bytes()

    @pytest.mark.parametrize("place", ["memory://out", "out"])
    def test_what_is_there_is_skipped(
        self, place, run, store, save_picture, pixels, monkeypatch
    ) -> None:
        monkeypatch.chdir(save_picture(pixels, "in/a.png").parent.parent)
        assert [outcome.status for outcome in run("in", place)] == ["done"]
        assert [outcome.status for outcome in run("in", place)] == ["skipped"]

    def test_a_bad_one_leaves_no_object(self, run, store) -> None:
        store.pipe_file("/in/a.png", b"no picture")
        store.pipe_file("/in/b.png", b"")
        first, second = run("memory://in", "memory://out")
        assert (first.status, second.status) == ("failed", "failed")
        assert "memory://in/a.png is not a picture" in str(first.error)
        assert "memory://in/b.png is empty" in str(second.error)
        assert list(store.store) == ["/in/a.png", "/in/b.png"]

    def test_a_store_that_refuses_access_ends_the_batch_and_one_that_fails_does_not(
        self, run, store, save_picture, pixels, monkeypatch
    ) -> None:
        photo = save_picture(pixels, "in/a.png")

        def fail(error):
            def put(*_arguments, **_options):
                raise error

            monkeypatch.setattr(type(store), "pipe_file", put)

        fail(PermissionError("Forbidden"))
        with pytest.raises(
            AccessError, match=r"cannot write memory://out/a\.png: access is denied"
        ):
            run(photo.parent, "memory://out")
        fail(OSError("Please slow down"))
        (outcome,) = run(photo.parent, "memory://out")
        assert outcome.status == "failed"
        assert str(outcome.error) == "cannot write memory://out/a.png: Please slow down."

    def test_what_could_not_be_asked_for_is_not_made_again(
        self, run, store, save_picture, pixels, monkeypatch
    ) -> None:
        photo = save_picture(pixels, "in/a.png")
        store.pipe_file("out/a.png", b"mine")

        def fail(error):
            def info(*_arguments, **_options):
                raise error

            monkeypatch.setattr(type(store), "info", info)

        fail(OSError("Internal error"))
        (outcome,) = run(photo.parent, "memory://out")
        assert str(outcome.error) == "cannot look for memory://out/a.png: Internal error."
        fail(PermissionError("Forbidden"))
        with pytest.raises(AccessError, match=r"cannot look for memory://out/a\.png: access is"):
            run(photo.parent, "memory://out")
        assert store.store["/out/a.png"].getvalue() == b"mine"

    def test_a_photograph_that_is_denied_is_one_failure(
        self, run, store, save_picture, pixels, monkeypatch
    ) -> None:
        class NoCredentialsError(Exception):
            """As botocore has it."""

        store.pipe_file("in/a.png", save_picture(pixels, "a.png").read_bytes())

        def fail(error):
            def cat(*_arguments, **_options):
                raise error

            monkeypatch.setattr(type(store), "cat_file", cat)

        fail(PermissionError("Forbidden"))
        (outcome,) = run("memory://in", "memory://out")
        assert isinstance(outcome.error, AccessError)
        fail(NoCredentialsError("none"))
        with pytest.raises(AccessError, match="has no credentials for it"):
            run("memory://in", "memory://out")
