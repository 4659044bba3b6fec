"""Which models are served, and how many of them are open and at work."""

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from device_zoo import device
from packed_students import *  # noqa: F403  (fixtures)

from nstc.core import zoo
from nstc.core.bundle import open_bundle
from nstc.core.errors import ArtifactError, BundleError, OptionError
from nstc.runtime.arrays import check_picture
from nstc.runtime.serving.refusals import RefusedError
from nstc.runtime.serving.served_models import ServedModels, find_models
from nstc.runtime.session import cached_artifact
from nstc.runtime.stylizer import Stylizer

__all__ = ["device"]  # a fixture

PICTURE = np.full((5, 7, 3), 200, np.uint8)


class TestWhichThereAre:
    def test_the_students_of_the_zoo_in_both_precisions(self) -> None:
        found = {model.name: model for model in find_models()}
        students = [name.removeprefix("zoo:") for name in zoo.zoo_students()]
        assert sorted(found) == sorted(students)
        assert all(model.precisions == ("int8", "float") for model in found.values())
        assert found["the-scream"].title == "The Scream"

    def test_a_device_has_the_students_as_integers(self, device) -> None:
        found = find_models()
        assert len(found) == len(zoo.zoo_students())
        assert {model.precisions for model in found} == {("int8",)}

    def test_a_teacher_whose_file_is_in_the_cache(self, linear) -> None:
        bundle = open_bundle("zoo:udnie/teacher")
        linear(cached_artifact(bundle, "float"), -1, 1)

        found = {model.name: model for model in find_models()}
        assert found["udnie/teacher"].precisions == ("float",)
        assert found["udnie/teacher"].title == "Udnie, full-size"
        assert "udnie" in found

    def test_a_fast_student_beside_the_other(self, make_bundle, tmp_path, monkeypatch) -> None:
        for role in ("student", "fast"):
            make_bundle(tmp_path / "the-wave" / role)
        monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path)
        assert [(model.name, model.title) for model in find_models()] == [
            ("the-wave", "The Wave"),
            ("the-wave/fast", "The Wave, fast"),
        ]

    def test_a_pack_of_the_zoo_where_it_is_asked_for(
        self, shared_pack, make_bundle, tmp_path, monkeypatch
    ) -> None:
        folder = tmp_path / "zoo"
        make_bundle(folder / "the-wave" / "student")
        shutil.copytree(shared_pack.bundle.path, folder / "seasons" / "pack")
        monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
        assert [model.name for model in find_models()] == ["the-wave"]
        found = find_models(["zoo:seasons"])
        assert [model.name for model in found] == ["seasons/day", "seasons/night"]

    def test_what_was_asked_for_alone(self, bundle) -> None:
        found = find_models([str(bundle.path), "zoo:udnie", "zoo:udnie"])
        assert [model.name for model in found] == ["negative", "udnie"]

    def test_two_of_one_name(self, make_bundle, tmp_path) -> None:
        paths = [str(make_bundle(tmp_path / name).path) for name in ("a", "b")]
        assert [model.name for model in find_models(paths)] == ["negative", "negative-2"]

    def test_only_the_precisions_that_it_has(self, make_bundle, tmp_path) -> None:
        path = str(make_bundle(tmp_path / "a", artifacts=["float"]).path)
        (model,) = find_models([path])
        assert model.precisions == ("float",)

    def test_none_of_that_name(self, tmp_path) -> None:
        with pytest.raises(BundleError, match="no zoo:nobody in the zoo"):
            find_models(["zoo:nobody"])
        with pytest.raises(BundleError):
            find_models([str(tmp_path / "missing")])

    def test_weights_alone(self) -> None:
        with pytest.raises(ArtifactError) as raised:
            find_models(["zoo:udnie/teacher"])
        assert raised.value.artifact == "onnx"

    def test_a_damaged_file(self, bundle, tmp_path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(bundle.path, copy)
        (copy / "model.int8.onnx").write_bytes(b"nothing")
        with pytest.raises(BundleError):
            find_models([str(copy)])

    def test_no_threads(self) -> None:
        with pytest.raises(OptionError, match="threads is 0: expected from 1"):
            ServedModels(find_models(["zoo:udnie"]), threads=0)


class TestPack:
    @pytest.fixture
    def models(self, shared_pack) -> Iterator[ServedModels]:
        served = ServedModels(find_models([str(shared_pack.bundle.path)]), threads=1)
        yield served
        assert served.close(10)

    def test_each_style_gives_its_own_picture(self, models, shared_pack) -> None:
        picture = check_picture(0, 64, 96)
        for style in ("day", "night"):
            made = models.submit(f"seasons/{style}", "int8", lambda own: own.transfer(picture))
            expected = Stylizer(shared_pack, style=style, threads=1)(picture)
            np.testing.assert_array_equal(made.result(60), expected)

    def test_a_style_that_the_pack_does_not_have(self, models) -> None:
        told = "there is no model 'seasons/dusk': expected one of seasons/day, seasons/night."
        with pytest.raises(RefusedError, match=told) as raised:
            models.find("seasons/dusk", "int8")
        assert raised.value.status == 404

    def test_a_style_has_the_precision_of_its_pack_alone(self, models) -> None:
        with pytest.raises(RefusedError, match="precision is 'float': seasons/day has int8"):
            models.find("seasons/day", "float")


class TestWork:
    @pytest.mark.parametrize("precision", ["int8", "float"])
    def test_it_is_the_network(self, negatives, precision) -> None:
        models = negatives()
        made = models.submit("negative", precision, lambda own: own.transfer(PICTURE)).result(60)
        assert (made == 55).all()

    @pytest.mark.parametrize(
        ("name", "precision", "status", "told"),
        [
            ("positive", "int8", 404, "there is no model 'positive': expected one of negative."),
            ("negative", "fp16", 400, "precision is 'fp16': negative has int8 or float."),
            ("negative", "", 400, "precision is ''"),
        ],
    )
    def test_what_is_not_there(self, negatives, name, precision, status, told) -> None:
        with pytest.raises(RefusedError, match=told) as raised:
            negatives().submit(name, precision, lambda _own: None)
        assert raised.value.status == status

    def test_the_least_recently_used_is_closed(self, negatives) -> None:
        models = negatives(3, most_open=2)
        for name in ("negative", "negative-2", "negative", "negative-3"):
            models.submit(name, "int8", lambda _own: None).result(60)
        assert models.opened == (("negative", "int8"), ("negative-3", "int8"))
        models.submit("negative-2", "int8", lambda _own: None).result(60)  # opened again

    def test_those_at_work_stay_open(self, negatives, occupy) -> None:
        models = negatives(3, most_open=2)
        occupy(models)
        models.submit("negative-2", "int8", lambda _own: None).result(60)
        models.submit("negative-3", "int8", lambda _own: None).result(60)
        assert models.opened == (("negative", "int8"), ("negative-3", "int8"))
        occupy(models, "negative-3")
        with pytest.raises(RefusedError, match="2 other models are at work") as raised:
            models.submit("negative-2", "int8", lambda _own: None)
        assert raised.value.status == 429

    def test_a_bounded_queue_in_which_who_left_has_no_place(self, negatives, occupy) -> None:
        models = negatives(most_waiting=2)
        first = occupy(models)
        waiting = [models.submit("negative", "int8", lambda _own: 1) for _ in range(2)]
        with pytest.raises(RefusedError, match="2 pictures wait") as raised:
            models.submit("negative", "int8", lambda _own: 2)
        assert raised.value.status == 429
        waiting[0].cancel()
        last = models.submit("negative", "int8", lambda _own: 3)
        occupy.end.set()
        assert (first.result(60), waiting[1].result(60), last.result(60)) == (None, 1, 3)

    def test_an_error_is_that_of_its_own_picture(self, negatives) -> None:
        models = negatives()
        failed = models.submit("negative", "int8", lambda own: own.transfer(PICTURE[:, :, 0]))
        assert failed.exception(60) is not None
        made = models.submit("negative", "int8", lambda own: own.transfer(PICTURE)).result(60)
        assert (made == 55).all()

    def test_a_network_that_does_not_open_is_tried_again(self, negatives) -> None:
        models = negatives()
        path = models.by_name["negative"].bundle.path / "model.int8.onnx"
        content = path.read_bytes()
        path.write_bytes(b"nothing")
        failed = models.submit("negative", "int8", lambda own: own.transfer(PICTURE))
        assert isinstance(failed.exception(60), BundleError)
        path.write_bytes(content)
        models.submit("negative", "int8", lambda own: own.transfer(PICTURE)).result(60)

    def test_closing_drops_what_waits(self, negatives, occupy) -> None:
        models = negatives()
        at_work = occupy(models)
        waiting = models.submit("negative", "int8", lambda _own: None)
        assert not models.close(0)
        assert waiting.cancelled()
        assert not at_work.done()
        occupy.end.set()
        assert models.close(60)


def test_every_picture_of_a_file_is_the_stylizers() -> None:
    models = ServedModels(find_models(["zoo:udnie"]), threads=1)
    rgb = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    made = models.submit("udnie", "int8", lambda own: own.transfer(rgb)).result(60)
    assert np.array_equal(made, Stylizer("zoo:udnie")(rgb))
    assert models.close(60)
