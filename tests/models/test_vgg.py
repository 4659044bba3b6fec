import shutil
from importlib import resources
from types import SimpleNamespace

import pytest
import torch
import torchvision.models as torchvision_models
from safetensors.torch import load_file, save_file
from torchvision.models import vgg as torchvision_vgg

from nstc.core import VERSION
from nstc.core.errors import (
    CheckpointError,
    CorruptBundleError,
    MissingExtraError,
    OptionError,
)
from nstc.models.losses import STYLE_LAYERS
from nstc.models.vgg import SHIPPED_FILE, load_vgg

SHIPPED = resources.files("nstc.models") / "data" / SHIPPED_FILE
OXFORD_MEAN_BGR = (103.939, 116.779, 123.68)  # subtracted by Simonyan and Zisserman from 0..255


@pytest.fixture(scope="module")
def weights():
    return {key: value.float() for key, value in load_file(str(SHIPPED)).items()}


@pytest.fixture(scope="module")
def torchvision_features(weights):
    """torchvision's own VGG-16 with the shipped weights: nothing is downloaded."""
    layers = torchvision_vgg.make_layers(torchvision_vgg.cfgs["D"])
    loaded = layers.load_state_dict(
        {key.removeprefix("features."): value for key, value in weights.items()}, strict=False
    )
    assert not loaded.unexpected_keys
    assert {int(key.split(".")[0]) for key in loaded.missing_keys} == {24, 26, 28}  # conv5
    return layers.eval()


def expected(layers, x, names):
    found = {}
    for position, layer in enumerate(layers):
        x = layer(x)
        for name, place in names.items():
            if place == position:
                found[name] = x.clone()  # torchvision's ReLUs work in place
    return found


def test_the_shipped_features_are_those_of_torchvisions_network(vgg, torchvision_features):
    images = torch.rand(2, 3, 48, 40)
    mean = torch.tensor(OXFORD_MEAN_BGR[::-1]).view(1, 3, 1, 1)

    found = vgg(images, STYLE_LAYERS)

    with torch.no_grad():
        wanted = expected(torchvision_features, images * 255 - mean, vgg.layers)
    assert list(found) == ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    for name in STYLE_LAYERS:
        assert (found[name] - wanted[name]).abs().max() < 2e-4 * wanted[name].max()


def test_shapes_of_the_layers(vgg):
    found = vgg(torch.rand(1, 3, 64, 32), STYLE_LAYERS)

    assert {name: tuple(f.shape) for name, f in found.items()} == {
        "relu1_2": (1, 64, 64, 32),
        "relu2_2": (1, 128, 32, 16),
        "relu3_3": (1, 256, 16, 8),
        "relu4_3": (1, 512, 8, 4),
    }


def test_only_the_layers_asked_for_are_given(vgg):
    assert list(vgg(torch.rand(1, 3, 16, 16), ["relu2_2"])) == ["relu2_2"]


def _kept_and_gradients(vgg, layers, *, bf16, sparing):
    """Bytes kept for the gradient, and the gradients of two passes back through one graph."""
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kept = {}

    def keep(tensor):
        if tensor.shape[0] == 1:  # no weights
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16), hooks:
        features = vgg(images, layers, sparing=sparing)
    loss = sum(own.float().square().mean() for own in features.values())
    gradients = [torch.autograd.grad(loss, images, retain_graph=True)[0] for _ in range(2)]
    return sum(kept.values()), gradients


@pytest.mark.parametrize(
    ("layers", "bf16"),
    [(STYLE_LAYERS, False), (STYLE_LAYERS, True), (("relu1_1", "relu3_3"), False)],
)
def test_sparing_keeps_less_and_gives_the_same_gradients(vgg, layers, bf16):
    usual, expected_gradients = _kept_and_gradients(vgg, layers, bf16=bf16, sparing=False)
    less, gradients = _kept_and_gradients(vgg, layers, bf16=bf16, sparing=True)

    for one in gradients:
        assert torch.equal(one, expected_gradients[0])
    assert less < 0.9 * usual


def test_no_layer_past_the_last_wanted_one_is_computed():
    class Untouchable(torch.nn.Module):
        def forward(self, _):
            raise AssertionError("computed for nothing")

    short = load_vgg()
    short.features[short.position("relu2_2") + 1] = Untouchable()

    assert short(torch.rand(1, 3, 16, 16), ["relu2_2"])["relu2_2"].shape[1] == 128


def test_the_eye_never_learns(vgg):
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    assert not vgg.training


def test_a_changed_byte_of_the_shipped_file_is_noticed(tmp_path, monkeypatch):
    copy = tmp_path / "data" / SHIPPED_FILE
    copy.parent.mkdir()
    shutil.copyfile(str(SHIPPED), copy)
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    load_vgg()  # the copy is good
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)

    with pytest.raises(CorruptBundleError, match="install nstc again"):
        load_vgg()
    copy.with_name("version.txt").write_text(VERSION)
    line = f'run  pip install --force-reinstall --no-deps "nstc-models=={VERSION}"$'
    with pytest.raises(CorruptBundleError, match=f"differs .*{line}"):
        load_vgg()
    copy.unlink()
    with pytest.raises(CorruptBundleError, match=f"is missing: {line}"):
        load_vgg()
    copy.with_name("version.txt").write_text("0.0.9")
    with pytest.raises(MissingExtraError, match=r"version '0\.0\.9' of it is installed"):
        load_vgg()


def test_weights_from_a_path_take_torchvisions_normalisation(
    weights, torchvision_features, tmp_path
):
    path = tmp_path / "vgg.safetensors"
    save_file({**weights, "classifier.0.weight": torch.zeros(2)}, path)
    images = torch.rand(1, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    network = load_vgg(str(path))
    found = network(images, ["relu3_3"])["relu3_3"]

    with torch.no_grad():
        wanted = expected(torchvision_features, (images - mean) / std, network.layers)["relu3_3"]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


def test_vgg19_has_the_layers_of_torchvisions_network(tmp_path):
    layers = torchvision_vgg.make_layers(torchvision_vgg.cfgs["E"]).eval()
    path = tmp_path / "vgg19.safetensors"
    save_file({f"features.{key}": value for key, value in layers.state_dict().items()}, path)
    images = torch.rand(1, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    network = load_vgg(str(path))
    found = network(images, network.layers)

    with torch.no_grad():
        wanted = expected(layers, (images - mean) / std, network.layers)
    assert list(found)[-4:] == ["relu5_1", "relu5_2", "relu5_3", "relu5_4"]
    assert len(found) == 16
    for name, features in found.items():
        torch.testing.assert_close(features, wanted[name])


def test_a_layer_that_the_weights_do_not_reach(vgg):
    with pytest.raises(OptionError, match=r"no layer relu5_1: expected one of relu1_1.*relu4_3\.$"):
        vgg(torch.rand(1, 3, 16, 16), ["relu5_1"])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("torchvision", "VGG16_Weights.IMAGENET1K_V1"),
        ("torchvision-vgg19", "VGG19_Weights.IMAGENET1K_V1"),
    ],
)
def test_torchvisions_weights_are_asked_for_by_name(source, name, weights, monkeypatch):
    asked = []

    def get_weight(wanted):
        asked.append(wanted)
        return SimpleNamespace(get_state_dict=lambda **_: weights)

    monkeypatch.setattr(torchvision_models, "get_weight", get_weight)

    assert "relu4_3" in load_vgg(source).layers
    assert asked == [name]


def test_a_path_that_does_not_exist():
    with pytest.raises(OptionError, match=r"no VGG weights at nowhere\.safetensors.*shipped"):
        load_vgg("nowhere.safetensors")


def test_a_folder_is_not_weights(tmp_path):
    with pytest.raises(OptionError, match="no VGG weights"):
        load_vgg(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a torch file", b"\xff" * 64])
def test_a_file_that_is_no_safetensors(tmp_path, content):
    path = tmp_path / "vgg.pth"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"vgg\.pth is not a safetensors file"):
        load_vgg(str(path))


def test_weights_of_another_network_name_the_first_missing_key(weights, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({k: v for k, v in weights.items() if not k.startswith("features.5.")}, path)

    with pytest.raises(CheckpointError, match=r"features\.5\.weight is missing"):
        load_vgg(str(path))


def test_weights_of_another_shape_are_told_in_one_line(weights, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({**weights, "features.2.weight": torch.zeros(64, 64, 5, 5)}, path)

    with pytest.raises(CheckpointError) as caught:
        load_vgg(str(path))

    assert "features.2.weight is (64, 64, 5, 5), expected (64, 64, 3, 3)" in str(caught.value)
    assert "\n" not in str(caught.value)
