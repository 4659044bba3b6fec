"""Checkpoints of pytorch/examples' `fast_neural_style` become bundles.

A part of a checkpoint holds the network's weights: the one whose names and shapes fit. Training
scripts save weights inside of `model_state_dict` or `params_ema`, behind `module.` or
`_orig_mod.`, and beside a VGG, an optimizer or a discriminator. All tensors of a file are laid out
flat, by the path that leads to them; a part is what lies behind one prefix of these paths.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.importing.checkpoint_files import StandIn, as_one_line, read_checkpoint
from nstc.core import Progress, errors, manifest
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.files import path_or_none, sha256_of
from nstc.core.model_names import local_path, name_of
from nstc.models.architectures import network_bundle
from nstc.models.style import painting_style
from nstc.models.tensors import refuse_unusable
from nstc.models.transformer import TransformerNet

Shapes = Mapping[str, tuple[int, ...]]
Flat = Mapping[str, Tensor | StandIn]  # what a file holds, by the dotted path that leads to it

WHOLE: Final = "."  # how `--key` calls the file itself, where nothing is behind a prefix

_DEEPEST: Final = 8
_MOST_ITEMS: Final = 100_000
_LONGEST_NAME: Final = 120
_SHOWN: Final = 3

_BUFFERS_OF_OLD_CHECKPOINTS: Final = (".running_mean", ".running_var", ".num_batches_tracked")
_AVERAGED: Final = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow)([._]|$)|_ema|ema_", re.I)
# What lies beside weights and is not part of the network, by the first word of its path.
_OTHERS: Final = re.compile(
    r"vgg|loss|disc|optim|sched|critic|criteri|percept|lpips|resnet|inception|clip|scaler|metric|"
    r"feature_?(net|extractor)|net_?d$|^d$|encoder|augment|ema|swa|avg|average",
    re.I,
)


@dataclass(frozen=True)
class Part:
    """Weights out of a checkpoint, by the network's own names."""

    key: str  # the path that leads to them; "" for the file itself
    tensors: Mapping[str, Tensor]  # as they were saved
    note: str | None  # what was taken and what was not, in words; None if the file holds them alone


def import_checkpoint(
    checkpoint: str | Path,
    output: str | Path,
    *,
    name: str | None = None,
    style: str | Path | None = None,
    credit: str | None = None,
    vgg: str = "shipped",
    key: str | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Make a bundle of a state dict, as `torch.save` or safetensors wrote it.

    Args:
        checkpoint: The file, or its name on a hub; its network computes on values from 0 to 255.
        output: The bundle to write.
        name: Of the model; the output's name by default.
        style: The painting it was trained on, so that style loss can be measured against it.
        credit: Of the painting.
        vgg: See `nstc.models.vgg.load_vgg`.
        key: The path in the file that leads to the weights, where several parts of it fit.
        progress: Receives a note of which part of the file was taken.

    Raises:
        CheckpointError: and the other kinds of `network_of_checkpoint`.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    style = path_or_none(style)
    checkpoint = local_path(checkpoint)
    network, part = network_of_checkpoint(checkpoint, key)
    taken = {"key": part.key} if part.key else {}
    if part.note and progress is not None:
        progress.note(f"{checkpoint.name} {part.note}")
    source = None if style is None else painting_style(style, credit=credit, vgg=vgg)
    step = manifest.Step(verb="import", recipe={"checkpoint": checkpoint.name, "vgg": vgg, **taken})
    known, digest = name_of(checkpoint), sha256_of(checkpoint)
    path = None if known else str(checkpoint.resolve())
    parent = manifest.Origin(name=checkpoint.name, sha256=digest, zoo=known, path=path)
    name = name or output.name
    with network_bundle(
        output, network, source, name=name, stage="imported", step=step, parent=parent
    ):
        pass
    return open_bundle(output)


def network_of_checkpoint(checkpoint: Path, key: str | None = None) -> tuple[TransformerNet, Part]:
    """The network of a checkpoint, in evaluation mode, and the part of it that holds the weights.

    For `key` see `matching_part`.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture, or several parts
            of it fit.
        UnsafeFileError: the file holds more than tensors.
        UnusableModelError: weights are not finite, or the network gives one colour.
    """
    with torch.device("meta"):
        shapes = {k: tuple(value.shape) for k, value in TransformerNet().state_dict().items()}
    part = matching_part(read_checkpoint(checkpoint), shapes, checkpoint, key)
    refuse_unusable(part.tensors, checkpoint)
    network = TransformerNet()
    network.load_state_dict(part.tensors)
    refuse_unusable_network(network.eval(), checkpoint)
    return network, part


def matching_part(content: Any, expected: Shapes, path: Path, key: str | None = None) -> Part:
    """Find the weights of a network in the content of a file, as `read_checkpoint` gives it.

    Of several parts that fit the averaged one is taken, if their names tell which that is, or what
    is behind the path that `key` gives; `WHOLE` for the file itself. `CheckpointError`, which names
    them, if no part fits, or several do, or a tensor of it can't be used.
    """
    flat = _flattened(content if isinstance(content, Mapping | list | tuple) else {}, path)
    if not any(isinstance(value, Tensor) for value in flat.values()):
        inside = sorted({value.kind for value in flat.values() if isinstance(value, StandIn)})
        held = f"it holds {' and '.join(inside)} but" if inside else "it holds"
        raise errors.CheckpointError(f"{path} is not a state dict: {held} no tensors by name.")
    parts = _Parts(flat, expected, path)
    chosen, aside = parts.choose(key)
    beside = parts.refuse_differences(chosen)
    tensors = {name: _weights(flat[chosen + name], chosen + name, path) for name in expected}
    if not (chosen or beside or aside):
        return Part("", tensors, None)
    where = f"the weights behind {_shown(chosen)}" if chosen else "the weights of the file itself"
    left = f"; left aside: {_listed(beside)}" if beside else ""
    return Part(chosen[:-1], tensors, f"is read as {where}{aside}{left}")


def _flattened(content: Any, path: Path) -> Flat:
    """Tensors and stand-ins by the names that lead to them, with dots between."""
    flat: dict[str, Tensor | StandIn] = {}
    waiting: deque[tuple[str, Any, int]] = deque([("", content, 0)])
    seen = 0
    while waiting:
        prefix, inside, depth = waiting.popleft()
        named = isinstance(inside, Mapping)
        for name, value in inside.items() if named else enumerate(inside):
            seen += 1
            if seen > _MOST_ITEMS:
                raise errors.CheckpointError(
                    f"{path} holds more than {_MOST_ITEMS} things, far more than a network needs: "
                    "save its state dict alone."
                )
            dotted = f"{prefix}{name}"
            if (named and not isinstance(name, str)) or len(dotted) > _LONGEST_NAME:
                continue
            if isinstance(value, Mapping) or (isinstance(value, list | tuple) and depth == 0):
                if depth < _DEEPEST:
                    waiting.append((f"{dotted}.", value, depth + 1))
            elif named and isinstance(value, Tensor | StandIn):
                flat.setdefault(dotted, value)
    return flat


class _Parts:
    """The parts of a file, each by the prefix that leads to it, against a network's shapes."""

    def __init__(self, flat: Flat, expected: Shapes, path: Path) -> None:
        self._flat, self._expected, self._path = flat, expected, path
        # how many of the network's names are behind each prefix that leads to any
        self._counts: Counter[str] = Counter()
        for dotted in flat:
            start = 0
            while start >= 0:
                if dotted[start:] in expected:
                    self._counts[dotted[:start]] += 1
                start = dotted.find(".", start) + 1 or -1
        self._fitting = [
            prefix
            for prefix, count in self._counts.items()
            if count == len(expected)
            and all(_shape(flat[prefix + name]) in (own, None) for name, own in expected.items())
        ]

    def choose(self, key: str | None) -> tuple[str, str]:
        """The prefix to take, and what to say of the others."""
        path, wanted = self._path, self._fitting
        within = "" if key is None or key == WHOLE else key.strip(".") + "."
        if within and within not in wanted:
            wanted = [prefix for prefix in wanted if prefix.startswith(within)]
        elif key is not None:
            wanted = [within] if within in wanted else []
        if not wanted and self._fitting:
            raise errors.CheckpointError(
                f"{path} holds no such network behind {_shown(str(key))}: "
                f"--key takes {_listed(self._fitting)}."
            )
        if not wanted:  # say how the nearest differs
            asked = [prefix for prefix in self._counts if prefix.startswith(within)]
            self.refuse_differences(max(asked, key=self._counts.__getitem__, default=""))
            raise errors.CheckpointError(f"{path} holds no weights of a TransformerNet.")
        averaged = [prefix for prefix in wanted if _AVERAGED.search(prefix)]
        chosen = averaged[0] if len(averaged) == 1 else min(wanted, key=len)
        others = [prefix for prefix in wanted if prefix != chosen]
        if not others:
            return chosen, ""
        if len(averaged) == 1:
            return chosen, f", which are averaged ones; --key takes {_listed(others)} instead"
        if all(self._same_weights(chosen, other) for other in others):
            return chosen, f", which {_listed(others)} repeats"
        raise errors.CheckpointError(
            f"{path} holds several networks that fit: choose with --key, one of {_listed(wanted)}."
        )

    def _same_weights(self, one: str, other: str) -> bool:
        for name in self._expected:
            first, second = self._flat[one + name], self._flat[other + name]
            if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
                return False
            usual = not (_unusual(first) or _unusual(second))
            if not (usual and first.dtype == second.dtype and torch.equal(first, second)):
                return False
        return True

    def refuse_differences(self, chosen: str) -> Sequence[str]:
        """Refuse a part that lacks weights, or has more; give what lies beside it, in few words."""
        flat, expected = self._flat, self._expected
        elsewhere = tuple(prefix for prefix in self._fitting if prefix != chosen)
        inside = tuple(prefix for prefix in elsewhere if len(prefix) > len(chosen))
        beside: dict[str, None] = {}
        differences = [f"{name} is missing" for name in expected if chosen + name not in flat]
        for dotted, value in flat.items():
            name = dotted.removeprefix(chosen)
            if not isinstance(value, Tensor) or name in expected:
                continue
            if dotted.startswith(inside):
                continue  # another network, which `choose` speaks of
            if not dotted.startswith(chosen):
                if not dotted.startswith(tuple(prefix for prefix in elsewhere if prefix)):
                    beside[_parting(dotted, chosen)] = None
            elif name.endswith(_BUFFERS_OF_OLD_CHECKPOINTS) or ("." not in name and not value.ndim):
                continue  # never used, or a count of steps
            elif "." in name and _OTHERS.search(name.partition(".")[0]):
                beside[_parting(dotted, chosen)] = None
            else:
                differences.append(f"{_shown(name)} is not expected")
        for name, shape in expected.items():
            if chosen + name in flat and (own := _shape(flat[chosen + name])) not in (shape, None):
                differences.append(f"{name} is {own} instead of {shape}")
        if differences:
            behind = f"the part {_shown(chosen)} of " if chosen else ""
            count = "1 difference" if len(differences) == 1 else f"{len(differences)} differences"
            raise errors.CheckpointError(
                f"{behind}{self._path} is of another architecture than fast_neural_style's "
                f"TransformerNet: {'; '.join(differences[:_SHOWN])} ({count} in all). "
                "Export it to ONNX and give that file to nstc distill instead."
            )
        return list(beside)


def _parting(dotted: str, chosen: str) -> str:
    """A path up to the word where it parts from the chosen one."""
    words, others = dotted.split("."), chosen.split(".")
    parts = (n for n, word in enumerate(words[:-1], start=1) if others[n - 1 : n] != [word])
    return ".".join(words[: next(parts, len(words))])


def _weights(value: Tensor | StandIn, name: str, path: Path) -> Tensor:
    """A dense float32 tensor of the same values; `CheckpointError` if it can't be one."""
    what = _unusual(value)
    if what is None and isinstance(value, Tensor):
        try:
            return value.detach().to("cpu", torch.float32)
        except RuntimeError:
            what = f"of a kind that can't be converted to float32 ({value.dtype})"
    raise errors.CheckpointError(f"{path}: {_shown(name)} is {what}.")


def _unusual(value: Tensor | StandIn) -> str | None:
    """What a value is that is not a dense floating-point tensor, and how to save one."""
    if isinstance(value, StandIn):
        return f"{value.kind}, not a tensor: save tensors, torch.from_numpy(value) of each array"
    if value.is_nested:
        return "a nested tensor: save dense ones"
    if value.layout != torch.strided:
        return f"a sparse tensor ({value.layout}): save value.to_dense() of it"
    if value.is_quantized:
        return f"a quantized tensor ({value.dtype}): save value.dequantize(), or the float network"
    if value.device.type == "meta":
        return "a meta tensor, which has no values: save the network after its weights are loaded"
    if value.is_complex():
        return f"a complex tensor ({value.dtype}): weights are real numbers"
    if not value.is_floating_point():
        return f"a tensor of {value.dtype}: weights are floating-point numbers"
    return None


def _shape(value: Tensor | StandIn) -> tuple[int, ...] | None:
    """None for what has no shape to look at, and is refused by name where it is taken."""
    if isinstance(value, StandIn) or value.is_nested:
        return None
    return tuple(value.shape)


def _shown(name: str) -> str:
    """A name out of a file in one line; the dot that ends a prefix is left out."""
    return as_one_line(name).removesuffix(".")


def _listed(prefixes: Sequence[str]) -> str:
    shown = [_shown(prefix) or WHOLE for prefix in prefixes[: 2 * _SHOWN]]
    return ", ".join(shown) + (", ..." if len(prefixes) > len(shown) else "")
