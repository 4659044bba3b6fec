"""A process of two that share a training, or one alone: what they come to, as safetensors.

Run as `one_of_two.py PHOTOS OUTPUT`, with torchrun's variables set or not.
"""

import contextlib
import copy
import dataclasses
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from nstc.compress.learning import balance
from nstc.compress.learning.loop import joined, led
from nstc.compress.training.train_model import PaintingObjective
from nstc.core.errors import NstcError
from nstc.core.photos import photos_in
from nstc.core.recipe import TrainRecipe
from nstc.models import tensors
from nstc.models.losses import STYLE_LAYERS
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import load_vgg

balance._TYPICAL_SIZE = 64  # a photograph's features are soon computed
tensors.mixed_precision = lambda _device: contextlib.nullcontext()

photos, output = (Path(argument) for argument in sys.argv[1:])
vgg = load_vgg()
with torch.no_grad():
    style = vgg(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)), STYLE_LAYERS)
grams = {name: f[0].flatten(1) @ f[0].flatten(1).T / f.numel() for name, f in style.items()}

with joined() as processes:
    torch.manual_seed(2 + processes.rank)  # they must agree on weights even so
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    recipe = TrainRecipe(size=64, batch=4, balance=4.0)
    objective = PaintingObjective(network, photos_in([photos]), vgg, grams, recipe, processes)
    terms = objective(0)
    torch.stack(list(terms.values())).sum().backward()
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    found["losses"] = processes.mean(torch.stack([term.detach() for term in terms.values()]))
    found["balance"] = objective.balance.state_dict()["correction"]
    by_strength = dataclasses.replace(recipe, balance=None, style_strength=1.0)
    objective = PaintingObjective(
        copy.deepcopy(network), photos_in([photos]), vgg, grams, by_strength, processes
    )
    objective(0)
    figures = objective.balance.figures()
    found["strength"] = torch.tensor(list(figures.values()), dtype=torch.float64)
    second_stops = processes.any(processes.rank == 1)
    found["someone stops"] = torch.tensor(second_stops)
    try:
        with led(processes):
            if processes.leads:
                raise NstcError("no room")
    except NstcError as error:
        found["heard"] = torch.frombuffer(bytearray(str(error).encode()), dtype=torch.uint8)
    save_file(found, output)
