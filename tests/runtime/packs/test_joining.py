"""Bundles of one trunk become a pack, from which each file comes back; others are refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nstc.core.bundle import TILES_ARTIFACT, Bundle, open_bundle, revised_bundle
from nstc.core.errors import (
    ArtifactError,
    BundleError,
    CorruptBundleError,
    OptionError,
    OutputError,
)
from nstc.core.remote import zipped_bundles
from nstc.core.tensor_files import read_tensors
from nstc.runtime.check_vectors import read_check_vectors
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.joining import join_styles, members_of
from nstc.runtime.packs.stored_graph import read_graph
from nstc.runtime.packs.style_pack import INT8, Pack, is_pack, open_pack

Members = tuple[Bundle, Bundle]


@pytest.mark.parametrize("artifact", [INT8, TILES_ARTIFACT])
def test_the_files_of_a_pack_are_those_of_its_members_byte_for_byte(
    shared_pack: Pack, members: Members, artifact: str
) -> None:
    assert shared_pack.names == ("day", "night")
    for member in members:
        made = shared_pack.files(Blend.of(member.name))
        assert made[artifact] == member.artifact(artifact).read_bytes()


def test_members_of_one_scale_too(one_scale_members: Members, tmp_path: Path) -> None:
    pack = join_styles([(None, each) for each in one_scale_members], tmp_path / "pack")
    for member in one_scale_members:
        made = pack.files(Blend.of(member.name))
        assert made[INT8] == member.artifact(INT8).read_bytes()


def test_a_pack_says_where_its_styles_come_from(shared_pack: Pack, members: Members) -> None:
    for style, member in zip(shared_pack.styles, members, strict=True):
        assert style.style == member.manifest.style
        assert style.bundle == member.origin()
    assert shared_pack.bundle.name == "seasons"
    assert shared_pack.bundle.manifest.history[-1].recipe == {"styles": ["day", "night"]}
    assert is_pack(open_bundle(shared_pack.bundle.path))


def test_a_style_takes_a_small_part_of_a_file_and_no_weights(shared_pack: Pack) -> None:
    for style in shared_pack.styles:
        path = shared_pack.bundle.file(style.table)
        assert path.stat().st_size < shared_pack.bundle.artifact(INT8).stat().st_size / 4
        assert max(values.ndim for values in read_tensors(path).values()) == 1


def test_every_file_of_every_style_has_a_check_vector(shared_pack: Pack) -> None:
    names = {f"{s}/{a}" for s in ("day", "night") for a in (INT8, TILES_ARTIFACT)}
    assert read_check_vectors(shared_pack.bundle).keys() == names


def test_without_tiles_of_one_member_there_are_none(members: Members, tmp_path: Path) -> None:
    day, night = members
    path = Path(shutil.copytree(night.path, tmp_path / "night"))
    with revised_bundle(open_bundle(path), path, night.manifest) as draft:
        (draft / f"model.{TILES_ARTIFACT}").unlink()
    pack = join_styles([(None, day), (None, path)], tmp_path / "pack")
    assert pack.bundle.artifacts == (INT8,)
    assert pack.files(Blend.of("night")).keys() == {INT8}


def test_names_may_be_given(members: Members, tmp_path: Path) -> None:
    day, _ = members
    typed = members_of([f"noon={day.path}", str(day.path)])
    assert join_styles(typed, tmp_path / "pack").names == ("noon", "day")
    path = shutil.copytree(day.path, tmp_path / "a=b")
    assert members_of([str(path)])[0][0] is None


def test_the_hash_of_an_address_is_no_name(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    day, _ = members
    address = "https://photos.example/day.zip#sha256=" + "0" * 64
    monkeypatch.setattr(zipped_bundles, "local_path", {address: day.path}.__getitem__)
    for text, name in ((address, None), (f"noon={address}", "noon")):
        ((read, bundle),) = members_of([text])
        assert (read, bundle.path) == (name, day.path)
    monkeypatch.undo()
    with pytest.raises(BundleError, match="needs the file's hash"):
        members_of(["https://photos.example/day.zip#sha256=abc"])


class TestRefused:
    @pytest.fixture
    def refused(self, tmp_path: Path) -> Callable[..., str]:
        """Joins, and gives the text of the error; nothing was written."""

        def join(*styles: tuple[str | None, Bundle]) -> str:
            with pytest.raises(OptionError) as caught:
                join_styles(styles, tmp_path / "pack")
            assert not (tmp_path / "pack").exists()
            return str(caught.value)

        return join

    def test_weights_that_differ(
        self, members: Members, stranger: Bundle, refused: Callable[..., str]
    ) -> None:
        told = refused((None, members[0]), (None, stranger))
        assert f"{members[0].path} and {stranger.path} can't share a pack: the integers of" in told
        assert ".weight" in told
        assert "trained with one trunk" in told

    def test_another_shape(
        self, members: Members, one_scale_members: Members, refused: Callable[..., str]
    ) -> None:
        told = refused((None, members[0]), ("other", one_scale_members[1]))
        assert "are of different shapes: a pack is of students of one shape" in told

    def test_a_graph_of_other_nodes(
        self, members: Members, tmp_path: Path, refused: Callable[..., str]
    ) -> None:
        path = Path(shutil.copytree(members[1].path, tmp_path / "changed"))
        content = members[1].artifact(INT8).read_bytes()
        assert read_graph(content.replace(b"Round", b"Floor")).nodes
        with revised_bundle(open_bundle(path), path, members[1].manifest) as draft:
            (draft / f"model.{INT8}").write_bytes(content.replace(b"Round", b"Floor"))
        told = refused((None, members[0]), (None, open_bundle(path)))
        assert "have graphs that differ in more than their numbers" in told

    @pytest.mark.parametrize("name", ["day", "DAY"])
    def test_two_styles_of_one_name(
        self, members: Members, name: str, refused: Callable[..., str]
    ) -> None:
        told = refused(("day", members[0]), (name, members[1]))
        assert "two styles are called" in told
        assert f"give one of them as NAME={members[1].path}" in told

    @pytest.mark.parametrize("name", ["a=b", "a,b", "a/b", "..", "con", "x" * 200, "\x1b[2J"])
    def test_names_that_no_style_can_have(
        self, members: Members, name: str, refused: Callable[..., str]
    ) -> None:
        assert "a style can't be called" in refused((name, members[0]), (None, members[1]))

    def test_one_alone(self, members: Members, refused: Callable[..., str]) -> None:
        assert "1 given: a pack is of 2 to 100 bundles" in refused((None, members[0]))

    def test_a_pack_among_the_members(
        self, members: Members, shared_pack: Pack, refused: Callable[..., str]
    ) -> None:
        told = refused((None, members[0]), (None, shared_pack.bundle))
        assert f"{shared_pack.bundle.path} is a pack, and only its first style would be" in told

    def test_a_bundle_that_is_not_quantized(self, members: Members, tmp_path: Path) -> None:
        manifest = members[0].manifest
        path = Path(shutil.copytree(members[1].path, tmp_path / "float"))
        with revised_bundle(open_bundle(path), path, manifest) as draft:
            (draft / f"model.{INT8}").unlink()
        with pytest.raises(ArtifactError, match="holds no artifact int8"):
            join_styles([(None, members[1]), ("float", path)], tmp_path / "pack")

    def test_a_damaged_member(self, members: Members, tmp_path: Path) -> None:
        path = Path(shutil.copytree(members[1].path, tmp_path / "damaged"))
        (path / f"model.{INT8}").write_bytes(b"x" * members[1].artifact(INT8).stat().st_size)
        with pytest.raises(CorruptBundleError, match="is damaged"):
            join_styles([(None, members[0]), (None, path)], tmp_path / "pack")

    def test_a_member_in_the_place_of_the_pack(self, members: Members, tmp_path: Path) -> None:
        own = Path(shutil.copytree(members[0].path, tmp_path / "day"))
        before = sorted(path.name for path in own.iterdir())
        with pytest.raises(OptionError, match="is one of the bundles that are joined"):
            join_styles([("day", own), (None, members[1])], tmp_path / "x" / ".." / "day")
        assert sorted(path.name for path in own.iterdir()) == before

    def test_a_folder_of_others(self, members: Members, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(OutputError, match="holds files that are not a bundle"):
            join_styles([(None, each) for each in members], tmp_path)


def test_a_bundle_is_no_pack(members: Members) -> None:
    with pytest.raises(OptionError, match="is not a pack of styles"):
        open_pack(members[0])
