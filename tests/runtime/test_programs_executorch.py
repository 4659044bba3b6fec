import gc
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from nstc.core.errors import CorruptBundleError, ImageError, MissingExtraError, OptionError
from nstc.runtime.arrays import channel_statistics
from nstc.runtime.programs import ExecutorchSession, partition_of, quiet


def program_of(constants) -> bytes:
    """2x - 0.5, which leaves the range at both ends, at multiples of 4 up to 64."""
    import torch
    from torch.export import Dim, export

    class Contrast(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 - 0.5

    sizes = ({2: Dim("h", min=2, max=16) * 4, 3: Dim("w", min=2, max=16) * 4},)
    with quiet():
        from executorch.exir import to_edge

        exported = export(Contrast().eval(), (torch.rand(1, 3, 8, 12),), dynamic_shapes=sizes)
        edge = to_edge(exported, constant_methods=constants)
        return bytes(edge.to_executorch().buffer)


@pytest.fixture(scope="module")
def contrast(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pte") / "model.pte"
    path.write_bytes(program_of({"size_multiple": 4, "minimum_size": 8, "maximum_size": 64}))
    return path


@pytest.mark.executorch
def test_a_program_runs_padded_and_is_clipped(contrast) -> None:
    session = ExecutorchSession(contrast, "pte")
    rgb = np.array([[[0, 255, 102], [102, 102, 102]]], dtype=np.uint8)  # 2 * 0.4 - 0.5 = 0.3
    assert session.run(rgb).tolist() == [[[0, 255, 76], [76, 76, 76]]]
    feed, _ = session.prepare(rgb)
    assert feed[0].shape == (1, 3, 8, 8)
    assert session.run(np.zeros((13, 40, 3), np.uint8)).shape == (13, 40, 3)


@pytest.mark.executorch
def test_a_picture_above_the_largest_is_refused_before_it_runs(contrast) -> None:
    with pytest.raises(ImageError, match=r"model\.pte takes .* at most 64 .* this one is 65x8"):
        ExecutorchSession(contrast, "pte").run(np.zeros((65, 8, 3), np.uint8))


@pytest.mark.executorch
def test_a_program_is_told_the_statistics_that_onnx_graphs_get(tmp_path) -> None:
    path = tmp_path / "model.pte"
    sizes = {"size_multiple": 4, "minimum_size": 8, "maximum_size": 4096}
    path.write_bytes(program_of({**sizes, "deviation_floor": 0.0}))
    rgb = np.full((1024, 1024, 3), 200, np.uint8)
    rgb[0, 0] = 7, 199, 255  # a second pass over the pixels rounds such a deviation otherwise
    (_, mean, deviation), _ = ExecutorchSession(path, "pte").prepare(rgb)
    expected = channel_statistics(rgb)
    np.testing.assert_array_equal(mean.numpy().ravel(), expected[0])
    np.testing.assert_array_equal(deviation.numpy().ravel(), expected[1])


@pytest.mark.executorch
def test_an_array_that_is_no_picture_is_refused(contrast) -> None:
    with pytest.raises(ImageError, match="uint8"):
        ExecutorchSession(contrast, "pte").run(np.zeros((4, 4), np.uint8))


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _other_bytes(content: bytes) -> bytes:
    return np.random.default_rng(1).bytes(5000)


@pytest.mark.executorch
@pytest.mark.parametrize("damage", [_cut, _other_bytes, lambda content: b""])
def test_a_damaged_file_is_one_line(contrast, tmp_path, damage) -> None:
    damaged = tmp_path / "model.pte"
    damaged.write_bytes(damage(contrast.read_bytes()))
    with pytest.raises(CorruptBundleError, match=r"model\.pte can't be loaded") as caught:
        ExecutorchSession(damaged, "pte")
    assert "\n" not in str(caught.value)
    assert "make it again" in str(caught.value)


@pytest.mark.executorch
def test_a_program_that_is_not_nstcs_is_refused(tmp_path) -> None:
    foreign = tmp_path / "model.pte"
    foreign.write_bytes(program_of({}))
    with pytest.raises(CorruptBundleError, match=r"program of nstc's: .*size_multiple"):
        ExecutorchSession(foreign, "pte")


@pytest.mark.executorch
def test_threads_are_not_changed_under_an_open_program(contrast) -> None:
    one = ExecutorchSession(contrast, "pte", 1)
    another = ExecutorchSession(contrast, "pte", 1)
    with pytest.raises(OptionError, match=r"threads is 2: .* open with 1"):
        ExecutorchSession(contrast, "pte", 2)
    picture = np.full((8, 8, 3), 102, np.uint8)
    assert one.run(picture)[0, 0, 0] == another.run(picture)[0, 0, 0] == 76
    del one, another
    gc.collect()
    assert ExecutorchSession(contrast, "pte", 2).run(picture)[0, 0, 0] == 76


@pytest.mark.executorch
def test_a_program_without_a_delegate_has_its_operators_outside(contrast) -> None:
    found = partition_of(contrast)
    assert found.delegates == 0
    assert found.operators_outside >= 2  # the product and the difference


@pytest.mark.executorch
def test_nothing_is_logged(contrast) -> None:
    program = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from nstc.runtime.programs import ExecutorchSession;"
        f"s = ExecutorchSession(Path({str(contrast)!r}), 'pte', 1);"
        "s.run(np.zeros((8, 8, 3), np.uint8))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_standard_error_outlives_threads_that_were_quiet_at_once(capfd) -> None:
    """Each led it away and back by what it found there, which was the other's."""
    first_is_in, second_is_in, first_is_out = Event(), Event(), Event()
    filters = list(warnings.filters)

    def first() -> None:
        with quiet():
            first_is_in.set()
            second_is_in.wait(0.2)  # in vain, since it is kept out
            os.write(2, b"from the first ")
        first_is_out.set()

    def second() -> None:
        assert first_is_in.wait(20)
        with quiet(), quiet():  # as what makes a program does
            second_is_in.set()
            assert first_is_out.wait(20)
            os.write(2, b"from the second ")

    before = os.fstat(2)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result(30)
    assert os.path.samestat(os.fstat(2), before)
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"
    assert list(warnings.filters) == filters


def test_a_process_without_standard_error_can_be_quiet() -> None:
    program = (
        "import os, sys; os.close(2); sys.stderr = None;"
        "from nstc.runtime.programs import quiet\n"
        "with quiet(): print('worked')\n"
        "print(os.dup(1))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["worked", "2"]  # and its number is as free as it was


@pytest.mark.executorch
def test_four_threads_open_programs(contrast, capfd) -> None:
    picture = np.full((8, 8, 3), 102, np.uint8)

    def opened(_number: int) -> int:
        return int(ExecutorchSession(contrast, "pte").run(picture)[0, 0, 0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(16))) == [76] * 16
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


def test_without_executorch_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "nstc\[executorch\]"'):
        ExecutorchSession(tmp_path / "model.pte", "pte")
    with pytest.raises(MissingExtraError, match=r'pip install "nstc\[executorch\]"'):
        partition_of(tmp_path / "model.pte")


def test_the_module_itself_loads_neither_torch_nor_executorch() -> None:
    program = (
        "import sys, nstc.runtime.programs;"
        "print(sorted(sys.modules.keys() & {'torch', 'executorch'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
