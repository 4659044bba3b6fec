"""Checkpoints of pytorch/examples' `fast_neural_style` become bundles."""

import pickle
import pickletools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nstc.compress.style_sources import StyleSource, painting_style
from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.errors import CheckpointError, UnsafeFileError
from nstc.core.files import sha256_of
from nstc.core.manifest import Manifest, Origin, Step
from nstc.models.architectures import describe
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet

_BUFFERS_OF_OLD_CHECKPOINTS = (".running_mean", ".running_var", ".num_batches_tracked")
_SHOWN_KEYS = 3
_CALLS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX"})
"""Instructions of a pickle that name a class or function, or call one."""


def import_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    name: str | None = None,
    style: Path | None = None,
    credit: str | None = None,
    vgg: str = "shipped",
) -> Bundle:
    """Make a bundle of a `.pth` or `.model` state dict.

    Args:
        checkpoint: The file; its network works on values from 0 to 255.
        output: The bundle to write.
        name: Of the model; the output's name by default.
        style: The painting it was trained on, so that style loss can be measured against it.
        credit: Of the painting.
        vgg: See `nstc.models.vgg.load_vgg`.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture.
        UnsafeFileError: the file holds more than tensors.
    """
    network = network_of_checkpoint(checkpoint)
    source: StyleSource | None = None
    if style is not None:
        source = painting_style(style, credit=credit, vgg=vgg)
    architecture, contract = describe(network)
    manifest = Manifest(
        name=name or output.name,
        stage="imported",
        architecture=architecture,
        contract=contract,
        style=source.record if source else None,
        parent=Origin(
            name=checkpoint.name, sha256=sha256_of(checkpoint), path=str(checkpoint.resolve())
        ),
        history=(Step(verb="import", recipe={"checkpoint": checkpoint.name, "vgg": vgg}),),
    )
    with new_bundle(output, manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        if source:
            save_tensors(source.statistics.packed(), draft / STYLE_FILE)
    return open_bundle(output)


def network_of_checkpoint(checkpoint: Path) -> TransformerNet:
    """The network of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture.
        UnsafeFileError: the file holds more than tensors.
    """
    state = {
        key.removeprefix("module."): value
        for key, value in _state_dict(checkpoint).items()
        if not key.endswith(_BUFFERS_OF_OLD_CHECKPOINTS)
    }
    network = TransformerNet()
    _refuse_other_keys(checkpoint, state, network.state_dict())
    network.load_state_dict({key: value.float() for key, value in state.items()})
    return network.eval()


def _state_dict(checkpoint: Path) -> Mapping[str, Tensor]:
    if not checkpoint.is_file():
        raise CheckpointError(f"no checkpoint at {checkpoint}: there is no such file.")
    content = _loaded(checkpoint)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointError(f"{checkpoint} is no state dict: expected tensors by name.")
    return content


def _loaded(checkpoint: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no checkpoint, which is said below
            return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle makes torch's reader raise almost anything
        if _is_refusal(error) or _is_pickle_that_calls(checkpoint):
            raise UnsafeFileError(
                f"{checkpoint} was not loaded: it holds Python objects that would run code. "
                "Save its state dict alone, torch.save(network.state_dict(), FILE)."
            ) from error
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{checkpoint} is TorchScript, not a checkpoint: give it to nstc distill --trust."
            ) from error
        raise CheckpointError(
            f"{checkpoint} is damaged, or no file that torch.save wrote."
        ) from error


def _is_refusal(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, pickle.UnpicklingError) and (
        "Unsupported global" in text or "Unsupported class" in text or "GLOBAL" in text
    )


def _is_pickle_that_calls(path: Path) -> bool:
    """Whether a file is a bare pickle, as pickle.dump writes it, that calls anything."""
    try:
        with path.open("rb") as stream:
            names = {code.name for code, _, _ in pickletools.genops(stream)}
    except ValueError:
        return False
    return not names.isdisjoint(_CALLS)


def _refuse_other_keys(
    checkpoint: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    differences = [f"{key} is missing" for key in expected if key not in state]
    differences += [f"{key} is not expected" for key in state if key not in expected]
    differences += [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if differences:
        raise CheckpointError(
            f"{checkpoint} is of another architecture than fast_neural_style's TransformerNet: "
            f"{'; '.join(differences[:_SHOWN_KEYS])} ({len(differences)} differences in all). "
            "Export it to ONNX and give that file to nstc distill instead."
        )
