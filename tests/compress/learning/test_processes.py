"""Two processes on the CPU that share a batch, beside one that has it alone."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nstc.compress.learning.loop import Processes, joined
from nstc.core.errors import OptionError
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.photos import sample_photos

WORKER = Path(__file__).with_name("one_of_two.py")
CPU = torch.device("cpu")

Found = Mapping[str, Tensor]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_workers(count: int, photos: Path, folder: Path) -> list[Found]:
    """What each of some processes found."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank in range(count):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        command = [sys.executable, str(WORKER), str(photos), str(folder / f"{count}-{rank}")]
        # Without a GPU even where there is one: this is about gloo.
        given = {**os.environ, **address, **place, "CUDA_VISIBLE_DEVICES": ""}
        started.append(subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True))
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    return [load_file(folder / f"{count}-{rank}") for rank in range(count)]


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, path in enumerate(sample_photos().take(3)):
        write_picture(folder / f"{number}.png", Picture(rgb=read_picture(path).rgb[:90, :120]))
    return folder


@pytest.fixture(scope="module")
def found_alone(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return run_workers(1, photo_folder, tmp_path_factory.mktemp("alone"))[0]


@pytest.fixture(scope="module")
def found_by_two(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return run_workers(2, photo_folder, tmp_path_factory.mktemp("two"))


def test_two_processes_have_the_gradients_of_one(
    found_alone: Found, found_by_two: list[Found]
) -> None:
    weights = [name for name in found_alone if name.endswith(("weight", "bias"))]
    assert len(weights) == 22
    largest = max(float(found_alone[name].abs().max()) for name in weights)
    for name in weights:
        for found in found_by_two:
            torch.testing.assert_close(
                found[name], found_alone[name], rtol=1e-3, atol=1e-5 * largest, msg=name
            )
        assert torch.equal(found_by_two[0][name], found_by_two[1][name])


def test_they_report_the_losses_of_the_whole_batch_and_balance_alike(
    found_alone: Found, found_by_two: list[Found]
) -> None:
    for found in found_by_two:
        torch.testing.assert_close(found["losses"], found_alone["losses"], rtol=1e-4, atol=1e-7)
    assert torch.equal(found_by_two[0]["balance"], found_by_two[1]["balance"])
    # Each sees its own part's mean loss, so that a gradient at a picture is twice as long.
    torch.testing.assert_close(
        found_by_two[0]["balance"], found_alone["balance"], rtol=1e-3, atol=1e-3
    )


def test_they_hold_the_content_at_one_level(found_alone: Found, found_by_two: list[Found]) -> None:
    assert torch.equal(found_by_two[0]["strength"], found_by_two[1]["strength"])
    torch.testing.assert_close(
        found_by_two[0]["strength"], found_alone["strength"], rtol=1e-3, atol=1e-3
    )


def test_when_one_stops_all_do(found_alone: Found, found_by_two: list[Found]) -> None:
    assert [bool(found["someone stops"]) for found in found_by_two] == [True, True]
    assert not found_alone["someone stops"]


def test_when_the_one_that_leads_fails_the_others_do_not_wait(found_by_two: list[Found]) -> None:
    heard = [bytes(found["heard"].numpy()).decode() for found in found_by_two]
    assert heard[0] == "no room"
    assert "the process that leads could not go on" in heard[1]


class TestShare:
    def test_the_batch_is_divided_without_rest_and_overlap(self) -> None:
        shares = [Processes(CPU, rank, 3).share_of(6) for rank in range(3)]
        assert [list(share) for share in shares] == [[0, 1], [2, 3], [4, 5]]

    def test_one_has_it_all(self) -> None:
        assert list(Processes().share_of(3)) == [0, 1, 2]

    def test_what_can_not_be_divided_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"batch is 4, which 3 processes .* multiple of 3"):
            Processes(CPU, 0, 3).share_of(4)


@pytest.mark.parametrize("given", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "4"}])
def test_a_process_that_torchrun_did_not_start_is_alone(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("WORLD_SIZE", "RANK"):
            patch.delenv(name, raising=False)
        for name, value in given.items():
            patch.setenv(name, value)
        with joined() as processes:
            assert (processes.rank, processes.count, processes.leads) == (0, 1, True)
