import zipfile

import numpy as np
import pytest
from onnx import helper

from nstc.core.errors import ImageError, OptionError, TeacherError
from nstc.runtime.foreign import networks, trial
from nstc.runtime.foreign.networks import ForeignSession, is_torchscript, open_foreign_graph
from nstc.runtime.foreign.probing import probe_contract


@pytest.fixture
def pixelate(write_graph, tmp_path):
    """A network of multiples of 8 that shows each 8x8 block as its mean."""
    return write_graph(
        tmp_path / "pixelate.onnx",
        [
            helper.make_node("AveragePool", ["x"], ["d"], kernel_shape=[8, 8], strides=[8, 8]),
            helper.make_node("Resize", ["d", "", "scales"], ["y"], mode="nearest"),
        ],
        output_shape=(1, 3, "OH", "OW"),
        constants={"scales": np.array([1, 1, 8, 8], np.float32)},
    )


def test_a_size_that_does_not_fit_is_filled_by_its_edges_and_cropped_back(pixelate) -> None:
    session = ForeignSession(pixelate, probe_contract(pixelate), threads=1)
    rgb = np.zeros((70, 65, 3), np.uint8)
    rgb[:, 64:] = 200  # the last block of each row is this column, repeated
    painted = session.run(rgb)
    assert painted.shape == rgb.shape
    assert (painted[:, 64] == 200).all()
    assert (painted[:, :64] == 0).all()


def test_one_is_probed_in_a_process_of_its_own_until_it_kept_within_the_limits(
    pixelate, monkeypatch
) -> None:
    loaded, load = [], networks.load_graph
    monkeypatch.setattr(
        networks, "load_graph", lambda *a, **k: (loaded.append(a), load(*a, **k))[1]
    )
    monkeypatch.setattr(trial, "passed", {})
    opened = open_foreign_graph(pixelate, to_probe=True)
    assert loaded == []
    opened.call({"x": np.zeros((1, 3, 8, 8), np.float32)})
    open_foreign_graph(pixelate, to_probe=True)
    assert [path for path, _threads in loaded] == [pixelate]


@pytest.mark.parametrize("shape", [(1, 1, 3), (5000, 40, 3), (64, 63, 3)])
def test_any_size_comes_back_in_its_own(pixelate, shape) -> None:
    session = ForeignSession(pixelate, probe_contract(pixelate), threads=1)
    painted = session.run(np.full(shape, 90, np.uint8))
    assert painted.shape == shape
    assert (painted == 90).all()


@pytest.mark.parametrize("value_range", [1, 255, -1])
def test_the_range_is_converted_both_ways(write_graph, tmp_path, value_range, pixels) -> None:
    path = write_graph(tmp_path / "n.onnx", [helper.make_node("Identity", ["x"], ["y"])])
    session = ForeignSession(path, probe_contract(path, value_range=value_range), threads=1)
    np.testing.assert_array_equal(session.run(pixels), pixels)


def test_the_steps_are_those_of_run(pixelate, pixels) -> None:
    session = ForeignSession(pixelate, probe_contract(pixelate), threads=1)
    by_steps = session.finish(session.infer(session.prepare(pixels)))
    np.testing.assert_array_equal(by_steps, session.run(pixels))


def test_a_network_of_one_size_says_so(linear, tmp_path) -> None:
    path = linear(tmp_path / "n.onnx", 1, 0, shape=(1, 3, 64, 96))
    session = ForeignSession(path, probe_contract(path))
    assert session.run(np.zeros((64, 96, 3), np.uint8)).shape == (64, 96, 3)
    with pytest.raises(OptionError, match=r"64x96 .* this one is 96x64"):
        session.run(np.zeros((96, 64, 3), np.uint8))


def test_an_array_that_is_no_picture_is_refused(pixelate) -> None:
    session = ForeignSession(pixelate, probe_contract(pixelate))
    with pytest.raises(ImageError, match="uint8"):
        session.run(np.zeros((64, 64, 4), np.uint8))


def test_an_archive_whose_table_is_damaged_is_not_torchscript(tmp_path) -> None:
    path = tmp_path / "network.onnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("network/code/x.py", "")
    assert is_torchscript(path)
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    assert not is_torchscript(path)
    with pytest.raises(TeacherError, match="can't be loaded as ONNX"):
        probe_contract(path)


def test_a_file_that_went_bad_after_probing(pixelate) -> None:
    contract = probe_contract(pixelate)
    pixelate.write_bytes(b"\x08")
    with pytest.raises(TeacherError, match="can't be loaded"):
        ForeignSession(pixelate, contract)


def test_an_error_of_this_process_is_not_the_files(pixelate, monkeypatch) -> None:
    def no_thread(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trial, "ensure_tried", no_thread)
    with pytest.raises(RuntimeError, match="new thread"):
        open_foreign_graph(pixelate)
