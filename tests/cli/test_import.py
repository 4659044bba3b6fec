from pathlib import Path

import pytest
import torch

from nstc.core.bundle import open_bundle
from nstc.models.transformer import TransformerNet

IMPORT = "nstc.compress.importing.import_model.import_checkpoint"


@pytest.mark.parametrize(
    ("flag", "text", "field", "value"),
    [
        ("--name", "candy", "name", "candy"),
        ("--style", "s.png", "style", Path("s.png")),
        ("--credit", "Anon", "credit", "Anon"),
        ("--vgg", "torchvision", "vgg", "torchvision"),
    ],
)
def test_each_flag_arrives(nstc, record, made, tmp_path, flag, text, field, value) -> None:
    calls = record(IMPORT, made)
    done = nstc("import", "c.pth", "-o", tmp_path / "out", flag, text)
    assert (done.code, done.out) == (0, "wrote made\n")
    assert calls[0]["checkpoint"] == Path("c.pth")
    assert calls[0]["output"] == tmp_path / "out"
    assert calls[0][field] == value


def test_no_flag_is_forgotten_here(flags_of) -> None:
    assert flags_of("import") == {
        "--output",
        "--name",
        "--style",
        "--credit",
        "--vgg",
        "--key",
    }


def test_a_checkpoint_becomes_a_bundle(nstc, tmp_path) -> None:
    torch.save(TransformerNet().state_dict(), tmp_path / "candy.pth")
    done = nstc("import", tmp_path / "candy.pth", "-o", tmp_path / "candy")
    assert done.code == 0, done.err
    assert done.out == f"wrote {tmp_path / 'candy'}\n"
    assert open_bundle(tmp_path / "candy").name == "candy"
