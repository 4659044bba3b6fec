import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest

from nstc.core import files, zoo
from nstc.core.bundle import (
    MANIFEST_FILE,
    STYLE_FILE,
    WEIGHTS_FILE,
    artifact_name,
    bundle_to_revise,
    is_bundle,
    new_bundle,
    open_bundle,
    refuse_unwritable_bundle,
    revised_bundle,
)
from nstc.core.errors import (
    ArtifactError,
    BundleError,
    CorruptBundleError,
    NstcError,
    OptionError,
    OutputError,
    SchemaVersionError,
)
from nstc.core.files import sha256_of

FILES = [WEIGHTS_FILE, STYLE_FILE, "model.onnx", "model.int8.onnx"]


def check_all(path) -> None:
    bundle = open_bundle(path)
    for name in bundle.manifest.files:
        bundle.file(name)


def test_a_bundle_says_what_it_holds(bundle) -> None:
    assert sorted(bundle.manifest.files) == sorted(FILES)
    assert bundle.artifacts == ("int8.onnx", "onnx")
    for name, record in bundle.manifest.files.items():
        path = bundle.path / name
        assert (record.sha256, record.size_bytes) == (sha256_of(path), path.stat().st_size)
    check_all(bundle.path)


def test_a_moved_bundle_is_still_whole(bundle, tmp_path) -> None:
    moved = shutil.move(bundle.path, tmp_path / "elsewhere")
    assert open_bundle(moved).manifest == bundle.manifest
    check_all(moved)


@pytest.mark.parametrize(
    ("short", "full"), [("int8", "int8.onnx"), ("float", "onnx"), ("ts", "ts"), ("onnx", "onnx")]
)
def test_short_names_of_artifacts(short, full) -> None:
    assert artifact_name(short) == full


class TestDamage:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("where", [0, 0.5, -1])
    def test_a_flipped_bit_in_a_file(self, bundle, name, where) -> None:
        _flip(bundle.path / name, where)
        with pytest.raises(CorruptBundleError, match=f"{name} is damaged"):
            check_all(bundle.path)

    def test_a_flipped_bit_anywhere_in_the_manifest(self, bundle) -> None:
        path = bundle.path / MANIFEST_FILE
        whole = path.read_bytes()
        for place in range(len(whole)):
            bit = 1 << place % 8
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            try:
                changed = open_bundle(bundle.path)
            except (CorruptBundleError, SchemaVersionError):
                continue
            assert changed.manifest == bundle.manifest, f"byte {place}"

    @pytest.mark.parametrize("name", FILES)
    def test_a_missing_file(self, bundle, name) -> None:
        (bundle.path / name).unlink()
        with pytest.raises(CorruptBundleError, match=f"{name} is missing"):
            open_bundle(bundle.path)

    def test_a_file_that_vanishes_after_opening(self, bundle) -> None:
        (bundle.path / WEIGHTS_FILE).unlink()
        with pytest.raises(CorruptBundleError, match="is missing"):
            bundle.file(WEIGHTS_FILE)

    def test_a_missing_manifest(self, bundle) -> None:
        (bundle.path / MANIFEST_FILE).unlink()
        with pytest.raises(BundleError, match=r"holds no manifest\.json"):
            open_bundle(bundle.path)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"{}", b"\xff\xfe\x00"])
    def test_a_manifest_of_something_else(self, bundle, content) -> None:
        (bundle.path / MANIFEST_FILE).write_bytes(content)
        with pytest.raises(CorruptBundleError, match=r"manifest\.json"):
            open_bundle(bundle.path)

    def test_a_manifest_that_is_a_pipe_or_a_link_is_refused_at_once(self, bundle) -> None:
        path = bundle.path / MANIFEST_FILE
        path.rename(bundle.path.parent / "elsewhere.json")
        os.mkfifo(path)
        with pytest.raises(CorruptBundleError, match="it is a pipe, not a file"):
            open_bundle(bundle.path)
        path.unlink()
        path.symlink_to(bundle.path.parent / "elsewhere.json")
        with pytest.raises(CorruptBundleError, match="it is a symbolic link, not a file"):
            open_bundle(bundle.path)
        assert is_bundle(bundle.path)

    def test_a_manifest_of_gigabytes_is_not_read(self, bundle) -> None:
        with (bundle.path / MANIFEST_FILE).open("r+b") as stream:
            stream.truncate(6 * 10**9)  # sparse
        with pytest.raises(CorruptBundleError, match="it has 6000 MB, expected at most"):
            open_bundle(bundle.path)

    def test_a_file_that_is_a_link_is_not_followed(self, bundle, tmp_path) -> None:
        path = bundle.path / "model.onnx"
        path.rename(tmp_path / "elsewhere.onnx")  # its content is right
        path.symlink_to(tmp_path / "elsewhere.onnx")
        for read in (lambda: open_bundle(bundle.path), lambda: bundle.file("model.onnx")):
            with pytest.raises(CorruptBundleError, match="it is a symbolic link, not a file"):
                read()
        with (
            pytest.raises(CorruptBundleError, match="symbolic link"),
            revised_bundle(bundle, tmp_path / "new", bundle.manifest),
        ):
            pass
        assert not (tmp_path / "new").exists()

    def test_a_folder_that_is_a_link_is_followed(self, bundle, tmp_path) -> None:
        (tmp_path / "link").symlink_to(bundle.path)
        check_all(tmp_path / "link")

    def test_a_file_of_another_size_is_not_hashed(self, bundle, monkeypatch) -> None:
        with (bundle.path / WEIGHTS_FILE).open("r+b") as stream:
            stream.truncate(10**12)  # sparse
        monkeypatch.setattr(files, "sha256_of", lambda _: pytest.fail("it was read"))
        with pytest.raises(CorruptBundleError, match="is damaged"):
            bundle.file(WEIGHTS_FILE)

    @pytest.mark.parametrize("name", ["../notes.txt", "/etc/hostname"])
    def test_a_name_that_leads_elsewhere_is_not_opened(self, bundle, name, monkeypatch) -> None:
        notes = bundle.path.parent / "notes.txt"
        notes.write_text("mine")
        manifest = dataclasses.replace(bundle.manifest)
        record = dataclasses.replace(bundle.manifest.files[WEIGHTS_FILE])
        manifest.files[name] = record  # type: ignore[index]  # past what reading refuses
        hostile = dataclasses.replace(bundle)
        with pytest.raises(CorruptBundleError, match="would lead out of the folder"):
            hostile.file(name)

    def test_a_newer_schema(self, bundle) -> None:
        path = bundle.path / MANIFEST_FILE
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "schema_version": 2, "brush": "new"}))
        with pytest.raises(SchemaVersionError, match=r"schema version 2.*upgrade nstc"):
            open_bundle(bundle.path)

    def test_nothing_there(self, tmp_path) -> None:
        with pytest.raises(BundleError, match="does not exist"):
            open_bundle(tmp_path / "nothing")
        assert not is_bundle(tmp_path / "nothing")

    def test_every_kind_of_damage_has_an_exit_code_of_its_own(self) -> None:
        kinds = (BundleError, CorruptBundleError, SchemaVersionError, ArtifactError, NstcError)
        assert len({kind.exit_code for kind in kinds}) == len(kinds)


class TestArtifacts:
    def test_one_it_holds(self, bundle) -> None:
        assert bundle.artifact("int8") == bundle.path / "model.int8.onnx"

    @pytest.mark.parametrize(
        ("name", "full", "verb"),
        [
            ("int8", "int8.onnx", "quantizing"),
            ("dynamic", "dynamic.onnx", "quantizing"),
            ("pte", "pte", "exporting"),
            ("float", "onnx", "exporting"),
        ],
    )
    def test_one_it_lacks_says_how_it_is_made(self, make_bundle, tmp_path, name, full, verb):
        bundle = make_bundle(tmp_path / "b", artifacts=[])
        with pytest.raises(ArtifactError, match=f"holds none. Make it by {verb}") as caught:
            bundle.artifact(name)
        told = copy.copy(caught.value)  # as from another process
        assert (str(told), told.artifact, told.path) == (str(caught.value), full, bundle.path)

    def test_a_file_that_is_not_in_the_manifest(self, bundle) -> None:
        (bundle.path / "model.ts").write_bytes(b"smuggled in")
        with pytest.raises(ArtifactError):
            open_bundle(bundle.path).artifact("ts")


class TestWriting:
    def test_a_failure_leaves_nothing(self, bundle, tmp_path) -> None:
        target = tmp_path / "new"
        with pytest.raises(KeyboardInterrupt), new_bundle(target, bundle.manifest) as draft:
            _write_and_stop(draft / WEIGHTS_FILE)
        assert [p.name for p in tmp_path.iterdir()] == [bundle.path.name]

    def test_a_revision_keeps_the_files_and_adds_to_them(self, bundle, tmp_path) -> None:
        renamed = dataclasses.replace(bundle.manifest, name="revised")
        with revised_bundle(bundle, tmp_path / "new", renamed) as draft:
            (draft / "model.ts").write_bytes(b"script")
        revised = open_bundle(tmp_path / "new")
        assert revised.name == "revised"
        assert revised.artifacts == ("int8.onnx", "onnx", "ts")
        assert revised.identity == bundle.identity
        check_all(revised.path)
        check_all(bundle.path)

    def test_what_is_written_over_in_a_revision_stays_in_the_other_bundle(
        self, bundle, tmp_path
    ) -> None:
        with revised_bundle(bundle, tmp_path / "new", bundle.manifest) as draft:
            (draft / "model.onnx").write_bytes(b"another graph")
        check_all(bundle.path)
        check_all(tmp_path / "new")

    def test_a_bundle_can_be_revised_in_its_own_place(self, bundle) -> None:
        with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
            (draft / "model.ts").write_bytes(b"script")
        check_all(bundle.path)
        assert "ts" in open_bundle(bundle.path).artifacts

    def test_a_damaged_bundle_is_not_revised(self, bundle) -> None:
        _flip(bundle.path / WEIGHTS_FILE, 0)
        with (
            pytest.raises(CorruptBundleError),
            revised_bundle(bundle, bundle.path, bundle.manifest),
        ):
            pass
        assert [p.name for p in bundle.path.parent.iterdir()] == [bundle.path.name]

    def test_a_place_that_can_not_be_written_is_found_before_the_work(self, tmp_path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").touch()
        for target in (tmp_path / "file", tmp_path / "file" / "b", tmp_path / "mine"):
            with pytest.raises(OutputError):
                refuse_unwritable_bundle(target)
        refuse_unwritable_bundle(tmp_path / "new" / "b")

    def test_a_read_only_mount(self, tmp_path, bundle) -> None:
        mount = tmp_path / "mount"
        mount.mkdir()
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("only root mounts file systems")
        command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(mount)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("no file system may be mounted here")
        try:
            with pytest.raises(OutputError, match="Read-only file system"):
                refuse_unwritable_bundle(mount / "b")
            with (
                pytest.raises(OutputError, match="Read-only file system"),
                new_bundle(mount / "b", bundle.manifest),
            ):
                pass
        finally:
            subprocess.run(["umount", str(mount)], check=True)


_ADD = """
import sys
from pathlib import Path
from nstc.core.bundle import bundle_to_revise, revised_bundle
for turn in range(4):
    with bundle_to_revise(Path(sys.argv[1])) as bundle:
        with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
            (draft / f"model.{sys.argv[2]}.{turn}").write_text("added")
"""


class TestTwoWriters:
    def test_what_each_of_several_runs_adds_is_there_in_the_end(self, bundle) -> None:
        runs = [
            subprocess.Popen([sys.executable, "-c", _ADD, str(bundle.path), str(number)])
            for number in range(3)
        ]
        assert [run.wait() for run in runs] == [0, 0, 0]
        check_all(bundle.path)
        added = {f"{number}.{turn}" for number in range(3) for turn in range(4)}
        assert added <= set(open_bundle(bundle.path).artifacts)

    def test_a_bundle_that_was_changed_since_it_was_opened_is_not_revised(self, bundle) -> None:
        with bundle_to_revise(bundle) as own, revised_bundle(own, own.path, own.manifest) as draft:
            (draft / "model.ts").write_bytes(b"script")
        with (
            pytest.raises(OutputError, match="changed it meanwhile"),
            revised_bundle(bundle, bundle.path, bundle.manifest),
        ):
            pass
        assert "ts" in open_bundle(bundle.path).artifacts


@pytest.mark.parametrize("name", ["s.onnx", "model.PTE", "s.pth", "s.tflite", "s.mlpackage"])
def test_a_folder_does_not_get_a_files_name(tmp_path, name) -> None:
    with pytest.raises(OptionError, match="Give the name of a folder, such as"):
        refuse_unwritable_bundle(tmp_path / name)
    (tmp_path / name).mkdir()
    refuse_unwritable_bundle(tmp_path / name)  # what is there already


class TestIdentity:
    def test_it_follows_the_weights(self, make_bundle, tmp_path) -> None:
        one, same, other = (
            make_bundle(tmp_path / name, seed=seed) for name, seed in [("a", 1), ("b", 1), ("c", 2)]
        )
        assert one.identity == same.identity != other.identity

    def test_it_follows_the_architecture(self, bundle) -> None:
        architecture = dataclasses.replace(bundle.manifest.architecture, arguments={"width": 16})
        manifest = dataclasses.replace(bundle.manifest, architecture=architecture)
        assert dataclasses.replace(bundle, manifest=manifest).identity != bundle.identity

    def test_an_origin_remembers_name_hash_and_place(self, bundle, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path)
        origin = bundle.origin()
        assert (origin.name, origin.sha256) == ("negative", bundle.identity)
        assert (origin.zoo, origin.path) == (None, str(bundle.path.resolve()))


class TestSharedStatistics:
    """Those that an included bundle's style has beside its bundles' folders."""

    @pytest.fixture
    def included(self, make_bundle, tmp_path, monkeypatch):
        """A student whose statistics are in its style's folder."""
        monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "zoo")
        with zoo.shipping():
            made = make_bundle(tmp_path / "zoo" / "wave" / "student")
        (made.path / STYLE_FILE).rename(tmp_path / "zoo" / "wave" / STYLE_FILE)
        return made

    @pytest.mark.parametrize("by", ["name", "path", "link"])
    def test_they_are_read_as_the_bundles_own(self, included, tmp_path, by) -> None:
        (tmp_path / "link").symlink_to(included.path)
        model = {"name": "zoo:wave", "path": included.path, "link": tmp_path / "link"}[by]
        check_all(model)
        shared = open_bundle(model).file(STYLE_FILE)
        assert sha256_of(shared) == included.manifest.files[STYLE_FILE].sha256

    def test_a_bundle_made_of_it_elsewhere_is_whole(self, included, tmp_path) -> None:
        with revised_bundle(included, tmp_path / "mine", included.manifest):
            pass
        shutil.rmtree(tmp_path / "zoo")
        check_all(tmp_path / "mine")

    def test_a_copy_by_hand_says_where_they_are(self, included, tmp_path) -> None:
        shutil.copytree(included.path.parent, tmp_path / "wave")
        copied = tmp_path / "wave" / "student"
        with pytest.raises(CorruptBundleError, match=r"missing.* in the folder above theirs"):
            open_bundle(copied)
        shutil.copy(tmp_path / "wave" / STYLE_FILE, copied)
        check_all(copied)

    def test_damage_names_the_included_model(self, included) -> None:
        shared = included.path.with_name(STYLE_FILE)
        _flip(shared, 0.5)
        with pytest.raises(CorruptBundleError, match=f"^{STYLE_FILE} of zoo:wave is damaged"):
            included.file(STYLE_FILE)
        shared.unlink()
        with pytest.raises(CorruptBundleError, match=f"^{STYLE_FILE} of zoo:wave is missing"):
            open_bundle("zoo:wave")

    def test_a_link_in_their_place_is_refused(self, included, tmp_path) -> None:
        shared = included.path.with_name(STYLE_FILE)
        shared.rename(tmp_path / "elsewhere")
        shared.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CorruptBundleError, match="is not part of the bundle"):
            open_bundle("zoo:wave")

    def test_no_other_file_is_looked_for_there(self, included) -> None:
        (included.path / WEIGHTS_FILE).rename(included.path.with_name(WEIGHTS_FILE))
        with pytest.raises(CorruptBundleError, match=r"zoo:wave is missing.*install nstc again"):
            open_bundle("zoo:wave")


def _write_and_stop(path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt


def _flip(path, where: float) -> None:
    content = bytearray(path.read_bytes())
    place = int(where * len(content)) if where >= 0 else len(content) - 1
    content[place] ^= 1
    path.unlink()  # bundles may share files by hard links
    path.write_bytes(content)
