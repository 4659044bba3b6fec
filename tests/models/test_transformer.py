import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nstc.models.transformer import MINIMUM_SIZE, TransformerNet, receptive_field


def keys_of_the_examples():
    """Keys of pytorch/examples' fast_neural_style/neural_style/transformer_net.py, in its order."""
    keys = []

    def pair(*modules):
        for module in modules:
            keys.extend([f"{module}.weight", f"{module}.bias"])

    for i in (1, 2, 3):
        pair(f"conv{i}.conv2d", f"in{i}")
    for i in (1, 2, 3, 4, 5):
        pair(f"res{i}.conv1.conv2d", f"res{i}.in1", f"res{i}.conv2.conv2d", f"res{i}.in2")
    pair("deconv1.conv2d", "in4", "deconv2.conv2d", "in5", "deconv3.conv2d")
    return keys


def examples_forward(state, x):
    """That file's `forward`, written out over its state dict; values from 0 to 255."""

    def conv(x, name, stride=1):
        weight = state[f"{name}.conv2d.weight"]
        x = F.pad(x, [weight.shape[-1] // 2] * 4, mode="reflect")
        return F.conv2d(x, weight, state[f"{name}.conv2d.bias"], stride)

    def norm(x, name):
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = x.var(dim=(2, 3), keepdim=True, unbiased=False)
        weight, bias = (state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def doubled(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x = norm(conv(x, "conv1"), "in1").relu()
    x = norm(conv(x, "conv2", 2), "in2").relu()
    x = norm(conv(x, "conv3", 2), "in3").relu()
    for i in (1, 2, 3, 4, 5):
        y = norm(conv(x, f"res{i}.conv1"), f"res{i}.in1").relu()
        x = norm(conv(y, f"res{i}.conv2"), f"res{i}.in2") + x
    x = norm(conv(doubled(x), "deconv1"), "in4").relu()
    x = norm(conv(doubled(x), "deconv2"), "in5").relu()
    return conv(x, "deconv3")


def randomise_norms(network):
    for name, parameter in network.named_parameters():
        if ".in" in name or name.startswith("in"):
            nn.init.uniform_(parameter, 0.5, 1.5)


def test_its_keys_are_those_of_pytorch_examples():
    assert list(TransformerNet().state_dict()) == keys_of_the_examples()


def test_its_shapes_are_those_of_pytorch_examples():
    shapes = {k: tuple(v.shape) for k, v in TransformerNet().state_dict().items()}

    assert shapes["conv1.conv2d.weight"] == (32, 3, 9, 9)
    assert shapes["conv2.conv2d.weight"] == (64, 32, 3, 3)
    assert shapes["conv3.conv2d.weight"] == (128, 64, 3, 3)
    assert shapes["res5.conv2.conv2d.weight"] == (128, 128, 3, 3)
    assert shapes["deconv1.conv2d.weight"] == (64, 128, 3, 3)
    assert shapes["deconv2.conv2d.weight"] == (32, 64, 3, 3)
    assert shapes["deconv3.conv2d.weight"] == (3, 32, 9, 9)


@pytest.mark.parametrize("size", [(16, 16), (40, 64)])
def test_its_output_is_that_of_pytorch_examples_at_their_scale(size):
    network = TransformerNet().eval()
    randomise_norms(network)
    network.prepare_for_training()  # steps as large as those of a trained network
    images = torch.rand(2, 3, *size)

    with torch.no_grad():
        ours = network(images) * 255
        theirs = examples_forward(network.state_dict(), images * 255)

    assert theirs.std() > 20
    assert (ours - theirs).abs().max() < 1e-3


def test_arguments_rebuild_a_narrower_network(small_transformer):
    arguments = small_transformer.arguments()

    rebuilt = TransformerNet(**arguments)
    rebuilt.load_state_dict(small_transformer.state_dict())

    assert arguments == {"down": [8, 6, 4], "inner": [3, 5], "up": [7, 2]}
    images = torch.rand(1, 3, 20, 16)
    assert torch.equal(rebuilt.eval()(images), small_transformer(images))


def test_the_smallest_picture_it_takes_gives_a_picture():
    out = TransformerNet()(torch.rand(1, 3, MINIMUM_SIZE, MINIMUM_SIZE))

    assert out.shape == (1, 3, 16, 16)
    assert torch.isfinite(out).all()


def test_training_starts_at_mid_grey():
    network = TransformerNet()
    network.prepare_for_training()
    nn.init.zeros_(network.deconv3.conv2d.weight)

    assert torch.allclose(network(torch.rand(1, 3, 16, 16)), torch.tensor(0.5))


@pytest.mark.parametrize("blocks", [1, 5])
def test_the_receptive_field_is_true_and_tight(blocks, extent):
    network = TransformerNet(down=(1, 1, 1), inner=(1,) * blocks, up=(1, 1)).double()
    for module in list(network.modules()):  # positive weights: no dependence can cancel
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                nn.init.constant_(child.weight, 1 / child.weight[0].numel())
    side = 160
    reach = [max(extent(network, side, side // 2 + i, side // 2)) for i in range(4)]

    assert max(reach) == (receptive_field(blocks) - 1) / 2
