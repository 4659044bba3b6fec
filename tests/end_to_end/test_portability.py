"""The same int8 files on other processors: x86 with AVX2 alone, and Arm, both emulated.

`make test-emulated` runs it, for every student of the zoo. Integers agree bit for bit, and so do
the float nodes in front of them, which find the picture's statistics exactly.
"""

import numpy as np
import pytest
from emulation.graphs import FIXED_SIZE, pictures, write_graphs
from emulation.machines import ARM, AVX2, THIS, Machine, Results, require

from nstc.core.bundle import open_bundle
from nstc.core.zoo import zoo_students

pytestmark = pytest.mark.emulated

OTHERS = (AVX2, ARM)


@pytest.fixture(scope="module", params=zoo_students())
def graphs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    write_graphs(open_bundle(request.param), folder)
    return folder


@pytest.fixture(scope="module")
def run(graphs, tmp_path_factory):
    """Runs all graphs on a machine, once."""
    kept: dict[str, Results] = {}

    def _run(machine: Machine) -> Results:
        require(machine)
        if machine.name not in kept:
            output = tmp_path_factory.mktemp("results") / machine.name
            kept[machine.name] = machine.run_graphs(graphs, output)
        return kept[machine.name]

    return _run


def levels_apart(results: Results, others: Results, graph: str) -> np.ndarray:
    """Differences of all values of all pictures, in levels of 255."""
    assert results[graph].keys() == others[graph].keys()
    apart = [
        np.abs(ours.astype(np.int16) - others[graph][picture]).ravel()
        for picture, ours in results[graph].items()
    ]
    return np.concatenate(apart)


@pytest.mark.parametrize("machine", OTHERS, ids=lambda machine: machine.name)
def test_integers_give_the_same_bytes(machine: Machine, run) -> None:
    ours, theirs = run(THIS), run(machine)
    assert len(ours["integers"]) == len(pictures())
    for picture, result in ours["integers"].items():
        assert np.ptp(result) > 50, f"{picture} came out flat: nothing would be seen"
    apart = levels_apart(ours, theirs, "integers")
    tell(machine, "integers", apart)
    assert np.count_nonzero(apart) == 0


@pytest.mark.parametrize("graph", ["int8", "int8.tiles", "int8.fixed"])
@pytest.mark.parametrize("machine", OTHERS, ids=lambda machine: machine.name)
def test_shipped_files_give_the_same_picture(machine: Machine, graph: str, run) -> None:
    ours, theirs = run(THIS), run(machine)
    for picture, result in ours[graph].items():
        assert result.shape[1:] == pictures()[picture].shape
    apart = levels_apart(ours, theirs, graph)
    tell(machine, graph, apart)
    assert np.count_nonzero(apart) == 0


def test_weights_of_eight_bits_would_be_caught(run) -> None:
    """Products of full weights overflow 16 bits on x86 without VNNI, and on no Arm."""
    on_avx2, on_arm = run(AVX2), run(ARM)
    assert (on_arm["eight-bits"]["white"] == 255).all()
    assert (on_avx2["eight-bits"]["white"] < 200).all()
    assert (on_arm["seven-bits"]["white"] == 255).all()
    assert (on_avx2["seven-bits"]["white"] == 255).all()


def test_one_picture_is_of_the_fixed_size_and_one_of_no_multiple() -> None:
    sizes = [picture.shape[:2] for picture in pictures().values()]
    assert FIXED_SIZE in sizes
    assert any(side % 4 for size in sizes for side in size)


def tell(machine: Machine, graph: str, apart: np.ndarray) -> None:
    """Print a figure for the documentation."""
    print(  # noqa: T201  (a figure for the documentation)
        f"\n{machine.name}, {graph}: {np.count_nonzero(apart)} of {apart.size} values differ, "
        f"by {apart.max()} levels at most"
    )
