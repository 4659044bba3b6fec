"""Networks out of bundles, as they learned and as they are deployed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from nstc.compress.export.checking import eager_reference
from nstc.core.bundle import (
    QUANTIZATION_FILE,
    STYLE_FILE,
    WEIGHTS_FILE,
    new_bundle,
    open_bundle,
    revised_bundle,
)
from nstc.core.errors import (
    ArtifactError,
    BundleError,
    CorruptBundleError,
    NstcError,
    SchemaVersionError,
)
from nstc.core.manifest import Architecture, Manifest, Step, Style
from nstc.core.photos import sample_photos
from nstc.models.architectures import (
    ARCHITECTURES,
    build,
    describe,
    learned_ranges,
    load,
    load_as_deployed,
    saturate,
)
from nstc.models.losses import STYLE_LAYERS
from nstc.models.student import Student, TwoScaleStudent
from nstc.models.style import StyleStatistics, style_of
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet
from nstc.runtime.arrays import Difference
from nstc.runtime.onnx_session import OnnxSession

NETWORKS = {
    "transformer": lambda: TransformerNet(down=(8, 6, 4), inner=(3, 5, 1), up=(7, 2)),
    "student": lambda: Student(8, [16, 8], "plain"),
    "two-scale-student": lambda: TwoScaleStudent(16, [8, 16], 8, dilations=[2, 1]),
}


@pytest.fixture
def save(tmp_path):
    """Writes a network as a bundle."""

    def write(network, *, weights=None, style=None, **changes):
        architecture, contract = describe(network)
        manifest = Manifest(
            name="n",
            stage="trained",
            architecture=architecture,
            contract=contract,
            style=Style(name="s", source="painting") if style else None,
        )
        with new_bundle(tmp_path / "bundle", dataclasses.replace(manifest, **changes)) as draft:
            save_tensors(network.state_dict() if weights is None else weights, draft / WEIGHTS_FILE)
            if style:
                save_tensors(style.packed(), draft / STYLE_FILE)
        return open_bundle(tmp_path / "bundle")

    return write


def test_every_architecture_is_tried_here():
    assert set(NETWORKS) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_built_again_from_its_description(name):
    network = NETWORKS[name]().eval()
    architecture, _ = describe(network)
    through_json = Architecture(**json.loads(json.dumps(dataclasses.asdict(architecture))))

    rebuilt = build(through_json)
    rebuilt.load_state_dict(network.state_dict())

    assert architecture.name == name
    assert type(rebuilt) is type(network)
    images = torch.rand(1, 3, 16, 24)
    assert torch.equal(rebuilt.eval()(images), network(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_works_at_the_smallest_size_of_its_contract(name):
    network = NETWORKS[name]()
    _, contract = describe(network)

    out = network(torch.rand(1, 3, contract.minimum_size, contract.minimum_size))

    assert out.shape[2:] == (contract.minimum_size, contract.minimum_size)
    assert contract.minimum_size % contract.size_multiple == 0


def test_contracts_by_hand():
    _, of_teacher = describe(TransformerNet())
    _, of_student = describe(Student(8, [8] * 5))

    assert (of_teacher.size_multiple, of_teacher.locality) == (4, "global")
    assert of_teacher.receptive_field == 115
    assert (of_student.size_multiple, of_student.locality) == (4, "exact")
    # 8 pixels at the stem, 8 more for each of 11 convolutions, 3 for the place among 4 pixels
    assert of_student.receptive_field == 8 + 11 * 8 + 3


def test_a_module_of_another_kind_has_no_description():
    with pytest.raises(TypeError, match="Linear is not in ARCHITECTURES"):
        describe(nn.Linear(1, 1))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_bundle_loads_as_the_network_saved(name, dtype, save):
    network = NETWORKS[name]().to(dtype)

    loaded = load(save(network).path)

    assert not loaded.training
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, network.state_dict()[key].float())


def test_a_bundle_loads_from_its_path_as_from_its_object(save):
    bundle = save(NETWORKS["student"]())
    images = torch.rand(1, 3, 8, 8)

    assert torch.equal(load(bundle)(images), load(str(bundle.path))(images))


@pytest.mark.parametrize(
    ("recorded", "named"),
    [
        ({"nstc.blocks": {"wide": "nstc-wide 2.1"}}, "install nstc-wide 2.1"),
        ({"nstc.blocks": {"other": "nstc-wide 2.1"}}, "the package that adds it to nstc.blocks"),
        ({"nstc.blocks": ["wide"]}, "the package that adds it to nstc.blocks"),
        (3, "the package that adds it to nstc.blocks"),
    ],
)
def test_blocks_of_a_package_that_is_not_installed_name_it(save, recorded, named):
    architecture = Architecture(
        name="student", arguments={"width": 8, "inner": [16, 8], "block": "wide"}
    )
    step = Step(verb="distill", recipe={"extensions": recorded})
    bundle = save(NETWORKS["student"](), architecture=architecture, history=(step,))

    with pytest.raises(SchemaVersionError, match=f"kind 'wide', which .*{named}"):
        load(bundle)


def test_an_architecture_of_the_future_is_named():
    with pytest.raises(BundleError, match="'mamba': expected one of transformer, student"):
        build(Architecture(name="mamba", arguments={}))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("student", {}),
        ("student", {"width": 8, "inner": [8], "block": "magic"}),
        ("student", {"width": 8, "inner": 8}),
        ("student", {"width": "8", "inner": [8]}),
        ("student", {"width": -8, "inner": [8]}),
        ("student", {"width": 8, "inner": [8], "depth": 3}),
        ("student", {"width": 10**9, "inner": [8]}),
        ("student", {"width": 4096, "inner": [4096] * 64, "block": "plain"}),
        ("transformer", {"down": [8, 8]}),
        ("transformer", {"down": [8, 8, 8], "inner": [None]}),
    ],
)
def test_arguments_that_build_nothing_are_a_damaged_bundle(name, arguments):
    with pytest.raises(CorruptBundleError, match=f"the manifest's arguments can.t build a {name}"):
        build(Architecture(name=name, arguments=arguments))


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: {**w, "head.bias": torch.zeros(47)},
        lambda w: {key: value for key, value in w.items() if key != "stem.weight"},
        lambda w: {**w, "extra": torch.zeros(1)},
    ],
    ids=["wrong shape", "a weight is missing", "a weight too many"],
)
def test_weights_that_do_not_fit_are_a_damaged_bundle(damage, save):
    network = NETWORKS["student"]()
    bundle = save(network, weights=damage(network.state_dict()))

    with pytest.raises(CorruptBundleError, match="do not fit the architecture") as caught:
        load(bundle)

    assert "\n" not in str(caught.value)


def test_a_flipped_byte_of_the_weights_is_noticed(save):
    bundle = save(NETWORKS["student"]())
    weights = bundle.path / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    with pytest.raises(CorruptBundleError, match="damaged"):
        load(bundle.path)


def test_a_bundle_that_is_not_there(tmp_path):
    with pytest.raises(NstcError, match="does not exist"):
        load(tmp_path / "nothing")


def test_the_style_of_a_bundle(save):
    grams = {name: torch.eye(n) for name, n in zip(STYLE_LAYERS, (64, 128, 256, 512), strict=True)}
    style = StyleStatistics({256: grams})  # exact in half precision

    found = style_of(save(NETWORKS["student"](), style=style))

    assert found is not None
    assert torch.equal(found.at(256)["relu2_2"], torch.eye(128))


def test_a_bundle_without_a_style_has_none(save):
    assert style_of(save(NETWORKS["student"]())) is None


def test_a_style_that_the_manifest_promises_must_be_there(save):
    bundle = save(NETWORKS["student"](), style=None)
    promised = dataclasses.replace(
        bundle,
        manifest=dataclasses.replace(bundle.manifest, style=Style(name="s", source="outputs")),
    )

    with pytest.raises(ArtifactError, match=r"holds no style\.safetensors"):
        style_of(promised)


NARROW = (-0.05, 0.05)


def made_by(student: Student, name: str) -> torch.Tensor:
    """What one of its modules gives for noise."""
    seen: list[torch.Tensor] = []
    module = student.get_submodule(name)
    handle = module.register_forward_hook(lambda _module, _given, made: seen.append(made))
    with torch.no_grad():
        student(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    handle.remove()
    return seen[0]


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student(width=8, inner=(8,), block="separable", head="separable").eval()


CONVOLUTIONS = ["stem", "blocks.0.expand.0", "blocks.0.expand.1", "blocks.0.project.0", "head.0"]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_holds_what_its_bytes_hold(student: Student, name: str) -> None:
    before = made_by(student, name)
    saturate(student, {name: NARROW})
    assert before.abs().max() > NARROW[1]
    assert torch.equal(made_by(student, name), before.clamp(*NARROW))


@pytest.mark.parametrize("name", ["blocks.0.project.1", "blocks.0"])
def test_sums_and_what_is_added_stay(student: Student, name: str) -> None:
    before = made_by(student, name)
    saturate(student, {name: NARROW})
    assert torch.equal(made_by(student, name), before)


def test_half_precision_holds_what_it_can(student: Student) -> None:
    saturate(student, {"stem": (-1e6, 1e6)})
    made = student.half().get_submodule("stem")(torch.ones(1, 3, 8, 8).half())
    assert torch.isfinite(made).all()


def test_ranges_of_another_network_are_refused(tmp_path: Path) -> None:
    bundle = open_bundle("zoo:udnie")
    with revised_bundle(bundle, tmp_path / "strange", bundle.manifest) as draft:
        save_tensors({"blocks.9": torch.tensor([0.0, 1.0])}, draft / QUANTIZATION_FILE)
    with pytest.raises(CorruptBundleError, match="another network's layers"):
        load_as_deployed(open_bundle(tmp_path / "strange"))


@pytest.mark.parametrize("ends", [torch.zeros(3), torch.zeros(2, 2), torch.tensor(0.0)])
def test_what_is_not_a_range_of_two_numbers_is_refused(tmp_path: Path, ends: torch.Tensor) -> None:
    bundle = open_bundle("zoo:udnie")
    with revised_bundle(bundle, tmp_path / "strange", bundle.manifest) as draft:
        save_tensors({"input": ends}, draft / QUANTIZATION_FILE)
    with pytest.raises(CorruptBundleError, match="expected ranges of two"):
        learned_ranges(open_bundle(tmp_path / "strange"))


def test_a_shipped_student_saturated_is_nearer_to_its_integer_file() -> None:
    bundle = open_bundle("zoo:udnie")
    picture = next(sample_photos().take(1).squares(256))
    integer = OnnxSession(bundle.artifact("int8.onnx"), "int8.onnx").run(picture)
    plain, deployed = (
        Difference.between(
            eager_reference(network, bundle.manifest.contract)(picture), integer
        ).psnr_db
        for network in (load(bundle), load_as_deployed(bundle))
    )
    assert deployed > plain + 3


def test_what_has_learned_in_float_is_as_its_weights_are() -> None:
    bundle = open_bundle("zoo:udnie/teacher")
    assert learned_ranges(bundle) is None
    assert not any(m._forward_hooks for m in load_as_deployed(bundle).modules())
