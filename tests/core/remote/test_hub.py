import json
import socket
import sys
import threading
from pathlib import Path

import pytest
from stub_hub import TOKEN

from nstc.core.bundle import open_bundle
from nstc.core.errors import (
    BundleError,
    CorruptBundleError,
    FetchError,
    MissingExtraError,
    OutputError,
)
from nstc.core.manifest import Manifest, Origin
from nstc.core.model_names import local_path, name_of
from nstc.core.remote import hub

NAME = "hf:me/night"


def as_new_process() -> None:
    """Forget what this process asked for."""
    hub._commit_of.cache_clear()


@pytest.fixture
def commit(stub_hub, bundle) -> str:
    """That of a repository which holds a bundle."""
    return stub_hub.holds("me/night", bundle.path)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "hf:night",
            "hf:me/",
            "hf:/night",
            "hf:me/../night",
            "hf:me/night@",
            "hf:me/night@..",
            "hf:me/night@a b",
            "hf:me/ni--ght",
            "hf:me/night/../a.onnx",
            "hf:me/night//a.onnx",
            "hf:con/night",
            "hf:me/night/readme.txt",
            "hf:me/night\n",
        ],
    )
    def test_what_is_none(self, name) -> None:
        with pytest.raises(BundleError, match="hf:OWNER/NAME"):
            open_bundle(name)

    @pytest.mark.parametrize(
        ("text", "read"),
        [
            ("hf:me/night", ("me/night", None, None)),
            ("hf:me/night@refs/pr/1", ("me/night", None, "refs/pr/1")),
            ("hf:me/x.y/a/b.onnx@v1", ("me/x.y", "a/b.onnx", "v1")),
        ],
    )
    def test_what_is_one(self, text, read) -> None:
        name = hub.HubName.read(text)
        assert (name.repository, name.file, name.revision) == read
        assert str(name) == text


class TestPlaces:
    def test_each_address_has_its_own_and_no_password_is_in_it(self, monkeypatch) -> None:
        addresses = (
            "https://huggingface.co",
            "http://huggingface.co",
            "https://me:SECRET@hub.corp/a",
            "https://hub.corp/b",
            "https://hub.corp",
        )
        folders = []
        for address in addresses:
            monkeypatch.setenv("HF_ENDPOINT", address)
            folders.append(hub.HubName.read(f"{NAME}@{'0' * 40}").place().parts[1])
        assert folders[0] == "huggingface.co"
        assert folders[2].startswith("hub.corp-")
        assert len(set(folders)) == len(addresses)
        assert "SECRET" not in "".join(folders)
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.corp/a/")
        assert hub.HubName.read(f"{NAME}@{'0' * 40}").place().parts[1] == folders[2]


class TestBundles:
    def test_a_branch_leads_to_its_newest_commit_and_says_which(
        self, stub_hub, commit, bundle, caplog
    ) -> None:
        opened = open_bundle(NAME)
        assert opened.manifest == bundle.manifest
        assert caplog.messages == [f"{NAME}@main is commit {commit}."]
        assert {path.name for path in opened.path.iterdir()} == {
            "manifest.json",
            *bundle.manifest.files,
        }
        for name in bundle.manifest.files:
            assert opened.file(name).read_bytes() == bundle.file(name).read_bytes()
        assert opened.origin().zoo == f"{NAME}@{commit}"
        assert opened.origin().path is None

    def test_a_commit_that_is_kept_asks_nobody_and_needs_no_package(
        self, stub_hub, commit, monkeypatch
    ) -> None:
        open_bundle(f"{NAME}@{commit}")
        stub_hub.asked.clear()
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert open_bundle(f"{NAME}@{commit}").name == "negative"
        assert stub_hub.asked == []

    def test_a_branch_that_is_kept_needs_no_package(
        self, stub_hub, commit, monkeypatch, caplog
    ) -> None:
        path = open_bundle(NAME).path
        as_new_process()
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert open_bundle(NAME).path == path
        assert f"Taking commit {commit}" in caplog.text

    def test_a_branch_that_moved_on_is_another_model(self, stub_hub, commit, bundle) -> None:
        first = open_bundle(NAME)
        files = stub_hub.repositories["me/night"].commits[commit]
        stub_hub.holds("me/night", {**files, "more.txt": b"more"})
        as_new_process()
        assert open_bundle(NAME).path != first.path
        assert open_bundle(f"{NAME}@{commit}").path == first.path

    def test_without_the_network_the_newest_that_was_asked_for_is_taken(
        self, stub_hub, commit, monkeypatch, caplog
    ) -> None:
        path = open_bundle(NAME).path
        as_new_process()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        stub_hub.asked.clear()
        assert open_bundle(NAME).path == path
        assert stub_hub.asked == []
        with pytest.raises(FetchError, match="was not asked for before, and HF_HUB_OFFLINE is set"):
            open_bundle("hf:me/other")

    def test_a_hub_that_is_down(self, stub_hub, commit, monkeypatch, caplog) -> None:
        path = open_bundle(NAME).path
        as_new_process()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            down = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(hub, "_host", lambda: "here")
        as_new_process()
        kept = open_bundle(NAME).path
        as_new_process()
        monkeypatch.setenv("HF_ENDPOINT", down)
        caplog.clear()
        assert open_bundle(NAME).path == kept != path
        assert "can't be reached" in caplog.text
        assert f"Taking commit {commit}" in caplog.text
        with pytest.raises(FetchError, match=r"hf:me/other: http://127.* can't be reached"):
            open_bundle("hf:me/other")

    def test_what_is_damaged_here_is_fetched_again(self, stub_hub, commit) -> None:
        opened = open_bundle(f"{NAME}@{commit}")
        name = next(iter(opened.manifest.files))
        (opened.path / name).write_bytes(b"damaged")
        assert open_bundle(f"{NAME}@{commit}").file(name)

    def test_what_lost_its_manifest_is_fetched_again(self, stub_hub, commit) -> None:
        opened = open_bundle(f"{NAME}@{commit}")
        (opened.path / "manifest.json").unlink()
        assert open_bundle(f"{NAME}@{commit}").manifest == opened.manifest

    def test_a_commit_whose_content_the_hub_changed(self, stub_hub, commit, bundle) -> None:
        opened = open_bundle(f"{NAME}@{commit}")
        (opened.path / next(iter(opened.manifest.files))).write_bytes(b"damaged")
        files = stub_hub.repositories["me/night"].commits[commit]
        content = json.loads(files["manifest.json"])
        changed = Manifest.from_json(files["manifest.json"], "")
        object.__setattr__(changed, "name", "another")
        files["manifest.json"] = changed.to_json().encode()
        assert content["name"] != "another"
        with pytest.raises(CorruptBundleError, match="other content than when it was first"):
            open_bundle(f"{NAME}@{commit}")

    @pytest.mark.parametrize("same_size", [True, False])
    def test_a_file_that_differs_from_the_manifest(self, stub_hub, commit, same_size) -> None:
        files = stub_hub.repositories["me/night"].commits[commit]
        content = files["model.onnx"]
        files["model.onnx"] = content[:-1] + b"!" if same_size else content[:-1]
        with pytest.raises(CorruptBundleError, match=r"model\.onnx that differs from its manifest"):
            open_bundle(NAME)
        assert hub.fetched_models.kept_bundle(hub.HubName.read(f"{NAME}@{commit}").place()) is None

    def test_a_file_that_is_larger_than_its_manifest_says(self, stub_hub, commit) -> None:
        stub_hub.repositories["me/night"].commits[commit]["model.onnx"] += b"x" * 1000
        with pytest.raises(FetchError, match=r"model\.onnx@\w+ is larger than it may be"):
            open_bundle(NAME)

    def test_xet_is_off_while_it_fetches_and_then_as_it_was(
        self, stub_hub, commit, monkeypatch
    ) -> None:
        library, seen = hub.library(), []
        download = library.hf_hub_download

        def watched(*arguments: object, **options: object) -> str:
            seen.append(library.constants.HF_HUB_DISABLE_XET)
            return download(*arguments, **options)

        monkeypatch.setattr(library.constants, "HF_HUB_DISABLE_XET", False)
        monkeypatch.setattr(library, "hf_hub_download", watched)
        open_bundle(NAME)
        assert set(seen) == {True}
        assert library.constants.HF_HUB_DISABLE_XET is False

    def test_xet_stays_off_until_the_last_of_two_downloads_ends(
        self, stub_hub, commit, monkeypatch
    ) -> None:
        """The second begins while the first is under way, and ends after it."""
        library = hub.library()
        download, begun, ended = library.hf_hub_download, threading.Event(), threading.Event()
        seen = []

        def watched(_repository: str, file: str, **options: object) -> str:
            if file == "first.onnx":
                second.start()
                assert begun.wait(60)
            else:
                begun.set()
                assert ended.wait(60)
                seen.append(library.constants.HF_HUB_DISABLE_XET)
            return download(_repository, file, **options)

        files = {"first.onnx": b"1", "second.onnx": b"2"}
        other = stub_hub.holds("me/others", files)
        monkeypatch.setattr(library.constants, "HF_HUB_DISABLE_XET", False)
        monkeypatch.setattr(library, "hf_hub_download", watched)
        names = [f"hf:me/others/{file}@{other}" for file in files]
        second = threading.Thread(target=hub.local_path, args=names[1:])
        hub.local_path(names[0])
        ended.set()
        second.join(60)
        assert seen == [True]
        assert library.constants.HF_HUB_DISABLE_XET is False

    def test_no_verb_changes_what_is_kept(self, stub_hub, commit) -> None:
        from nstc.runtime.verification import record

        with pytest.raises(OutputError, match="stays as it is: verify it without --record"):
            record(NAME)


class TestBadHubs:
    def test_no_such_repository(self, stub_hub) -> None:
        with pytest.raises(FetchError, match=r"hf:me/other is not at http://.* asks for a token"):
            open_bundle("hf:me/other")

    def test_no_such_revision(self, stub_hub, commit) -> None:
        with pytest.raises(FetchError, match="has no such revision"):
            open_bundle(f"{NAME}@v2")

    def test_one_that_asks_for_a_token_gets_it_and_nobody_reads_it(
        self, stub_hub, commit, monkeypatch, caplog
    ) -> None:
        stub_hub.repositories["me/night"].private = True
        with pytest.raises(FetchError, match="or set HF_TOKEN"):
            open_bundle(NAME)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        open_bundle(NAME)
        assert f"Bearer {TOKEN}" in stub_hub.tokens
        as_new_process()
        with pytest.raises(FetchError) as failure:
            open_bundle("hf:me/other")
        assert TOKEN not in caplog.text + str(failure.value)

    def test_a_token_that_no_header_can_hold_is_not_shown(
        self, stub_hub, commit, monkeypatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\x0bx")
        with pytest.raises(FetchError, match=r"can't be reached: \w+\.$") as failure:
            open_bundle(NAME)
        assert "hf_secret" not in str(failure.value)

    def test_a_token_file_that_cannot_be_read(self, stub_hub, commit) -> None:
        path = Path(hub.library().constants.HF_TOKEN_PATH)
        path.mkdir()  # which the tests' user can't read either, be it root
        with pytest.raises(FetchError, match=r"token can't be read: .*\. See who"):
            open_bundle(NAME)

    def test_a_gated_repository(self, stub_hub, commit) -> None:
        stub_hub.repositories["me/night"].gated = True
        with pytest.raises(FetchError, match=r"who accepted its conditions at http://.*/me/night"):
            open_bundle(NAME)

    @pytest.mark.parametrize(
        ("status", "told"),
        [(200, "does not answer as a hub does"), (503, "answers 503"), (418, "answers 418")],
    )
    def test_one_that_answers_html(self, stub_hub, commit, status, told) -> None:
        stub_hub.broken, stub_hub.status = b"<html>Sign in to the hotel's network</html>", status
        with pytest.raises(FetchError, match=told):
            open_bundle(NAME)

    @pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"id": "me/night", "sha": "../.."}', b"7"])
    def test_one_that_answers_other_json(self, stub_hub, commit, answer) -> None:
        stub_hub.broken = answer
        with pytest.raises(FetchError, match=r"not answer as a hub does|it is not a hub"):
            open_bundle(NAME)

    def test_a_repository_without_a_manifest(self, stub_hub) -> None:
        commit = stub_hub.holds("them/mosaic", {"mosaic-9.onnx": b"x", "README.md": b"# Mosaic"})
        with pytest.raises(BundleError) as failure:
            open_bundle("hf:them/mosaic")
        told = f"hf:them/mosaic@{commit} holds no manifest.json: it is not a bundle of nstc."
        assert told in str(failure.value)
        assert f"for nstc distill: hf:them/mosaic/mosaic-9.onnx@{commit}." in str(failure.value)

    def test_a_manifest_that_is_none(self, stub_hub) -> None:
        stub_hub.holds("me/night", {"manifest.json": b"{}"})
        with pytest.raises(CorruptBundleError, match=r"manifest\.json of hf:me/night@"):
            open_bundle(NAME)


def test_without_the_package_one_line_says_how_to_install_it(stub_hub, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r'run  pip install "nstc\[hub\]"'):
        open_bundle(NAME)


class TestFiles:
    @pytest.fixture
    def theirs(self, stub_hub) -> dict[str, bytes]:
        """Files of others; those of the commit."""
        commit = stub_hub.holds(
            "them/mosaic",
            {
                "fast/mosaic.onnx": b"graph",
                "fast/mosaic.onnx.data": b"weights",
                "fast/mosaic.onnx_data_1": b"more",
                "fast/mosaic.onnx.md": b"text",
                "mosaic.onnx": b"another",
                "config.json": b"{}",
            },
        )
        return stub_hub.repositories["them/mosaic"].commits[commit]

    def test_a_network_comes_with_its_weights_and_nothing_else(self, stub_hub, theirs) -> None:
        path = local_path("hf:them/mosaic/fast/mosaic.onnx")
        assert path.read_bytes() == b"graph"
        held = {own.name for own in path.parent.iterdir()}
        assert held == {"mosaic.onnx", "mosaic.onnx.data", "mosaic.onnx_data_1", "fetched.json"}
        pinned = name_of(path)
        commit = stub_hub.repositories["them/mosaic"].branches["main"]
        assert pinned == f"hf:them/mosaic/fast/mosaic.onnx@{commit}"
        stub_hub.asked.clear()
        assert local_path(pinned) == path
        assert stub_hub.asked == []

    def test_what_is_damaged_here_is_fetched_again(self, stub_hub, theirs) -> None:
        path = local_path("hf:them/mosaic/mosaic.onnx")
        path.write_bytes(b"damaged")
        assert local_path("hf:them/mosaic/mosaic.onnx").read_bytes() == b"another"

    def test_what_lost_its_record_is_fetched_again(self, stub_hub, theirs) -> None:
        path = local_path("hf:them/mosaic/mosaic.onnx")
        (path.parent / "fetched.json").unlink()
        assert local_path("hf:them/mosaic/mosaic.onnx") == path

    def test_a_commit_whose_content_the_hub_changed(self, stub_hub, theirs) -> None:
        path = local_path("hf:them/mosaic/mosaic.onnx")
        path.write_bytes(b"damaged")
        theirs["mosaic.onnx"] = b"changed"
        with pytest.raises(CorruptBundleError, match="other content than when it was first"):
            local_path("hf:them/mosaic/mosaic.onnx")

    @pytest.mark.parametrize("file", ["fast/mosaic.onnx", "fast/mosaic.onnx.data"])
    def test_other_content_than_the_hub_lists(self, stub_hub, theirs, monkeypatch, file) -> None:
        asked = hub.repository_info

        def listed(name):
            found = asked(name)
            theirs[file] = b"x" * len(theirs[file])
            return found

        monkeypatch.setattr(hub, "repository_info", listed)
        commit = stub_hub.repositories["them/mosaic"].branches["main"]
        with pytest.raises(FetchError, match="differs from what http"):
            local_path(f"hf:them/mosaic/fast/mosaic.onnx@{commit}")

    def test_more_bytes_than_a_network_may_have(self, stub_hub, theirs, monkeypatch) -> None:
        monkeypatch.setattr(hub, "MAX_TOTAL_BYTES", len(b"graph") + 1)
        with pytest.raises(FetchError, match=r"mosaic\.onnx\.data@\w+ is larger than it may be"):
            local_path("hf:them/mosaic/fast/mosaic.onnx")

    def test_no_such_file(self, stub_hub, theirs) -> None:
        with pytest.raises(BundleError, match=r"holds no udnie\.onnx.*hf:them/mosaic/mosaic\.onnx"):
            local_path("hf:them/mosaic/udnie.onnx")

    def test_a_file_is_no_bundle(self, stub_hub, theirs) -> None:
        with pytest.raises(BundleError, match="is an ONNX file, not a bundle"):
            open_bundle("hf:them/mosaic/mosaic.onnx")


class TestManifests:
    @pytest.mark.parametrize(
        "places",
        [
            {"zoo": "https://10.0.0.1/a.zip#sha256=" + "0" * 64},
            {"path": "https://10.0.0.1/a.zip#sha256=" + "0" * 64},
            {"path": "hf:them/mosaic"},
            {"zoo": "hf:them/mosaic"},
            {"zoo": "hf:them/mosaic@main"},
            {"zoo": f"hf:them/mosaic@{'0' * 39}"},
        ],
    )
    def test_none_leads_to_an_address_or_a_branch(self, places) -> None:
        with pytest.raises(ValueError, match="expected a "):
            Origin(name="teacher", sha256="0" * 64, **places)
