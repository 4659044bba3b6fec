"""The checkpoint of a training: all that a resumed run needs to end as one that never stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nstc.core.errors import CorruptBundleError, OptionError
from nstc.core.files import as_utf8, atomic_file
from nstc.models.tensors import refuse_unsafe_header, save_state

CHECKPOINT_FILE: Final = "checkpoint.safetensors"
PLAN_FILE: Final = "plan.json"
"""What a pruning decided before it fine-tunes."""


class Remembers(Protocol):
    """A part of a training whose past decides what it does next."""

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold of it."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`; a `KeyError` or `RuntimeError` means it is not its own."""


class Weights:
    """A network as a part of a checkpoint."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def state(self) -> Mapping[str, Tensor]:
        """Its parameters and buffers."""
        return self._network.state_dict()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self._network.load_state_dict(dict(state))


def save_checkpoint(
    path: Path, parts: Mapping[str, Remembers], *, step: int, identity: Mapping[str, Any]
) -> None:
    """Write the state of a training, or leave the checkpoint that was there.

    Args:
        path: The file.
        parts: By names without a dot.
        step: How many steps are finished.
        identity: What makes this run this run.

    Raises:
        OutputError: the place can't be written.
    """
    tensors = {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.state().items()
    }
    tensors["step"] = torch.tensor(step)
    tensors["identity"] = torch.frombuffer(bytearray(_canonical(identity)), dtype=torch.uint8)
    with atomic_file(path) as draft:
        save_state(tensors, draft)


def restore_checkpoint(
    path: Path, parts: Mapping[str, Remembers], *, identity: Mapping[str, Any]
) -> int:
    """Give the parts their states back, and say how many steps were finished.

    Raises:
        CorruptBundleError: the file is damaged, or no checkpoint of such parts.
        OptionError: it belongs to a run of another identity.
    """
    try:
        refuse_unsafe_header(path)
        with as_utf8(path) as name, safe_open(name, framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        written_by = bytes(tensors.pop("identity").numpy())
        step = int(tensors.pop("step"))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error
    if written_by != _canonical(identity):
        raise OptionError(
            f"{path} belongs to a run with other settings: repeat those, "
            "or run without --resume to start afresh."
        )
    try:
        for name, part in parts.items():
            part.restore(_of(f"{name}.", tensors))
    except (KeyError, RuntimeError) as error:
        raise _damaged(path, error) from error
    return step


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _damaged(path: Path, error: Exception) -> CorruptBundleError:
    return CorruptBundleError(
        f"{path} is damaged or no checkpoint: run again without --resume to start afresh "
        f"({str(error).partition(chr(10))[0]})."
    )


def _canonical(identity: Mapping[str, Any]) -> bytes:
    return json.dumps(identity, sort_keys=True).encode()
