"""The student family: its arithmetic, folding, and its names."""

import pytest
import torch
from torch import nn

from nstc.core import recipe
from nstc.core.recipe import SIZES, STUDENTS, DistillRecipe
from nstc.models.architectures import count_macs, count_parameters, describe
from nstc.models.student import (
    SHAPES,
    Kind,
    Student,
    channel_statistics,
    depth_to_space,
    fold,
    kind_of,
    minimum_size,
    normalise,
    receptive_field,
    student_named,
)

BLOCKS = list(recipe.BLOCKS)
KEYS = ("weight", "bias")
OPTIONS = [{"scale": 8}, {"norm": "instance"}, {"head": "separable"}]


@pytest.mark.parametrize("options", OPTIONS)
def test_options_are_arguments_and_others_are_left_out(options):
    student = Student(16, [8], **options)

    assert student.arguments() == {"width": 16, "inner": [8], "block": "separable", **options}
    Student(**student.arguments()).load_state_dict(student.state_dict())


def test_the_keys_of_bundles_that_are_out_there_stay():
    """A change here makes every bundle that was ever written unreadable."""
    assert set(Student(8, [8]).state_dict()) == {
        *("stem.weight", "stem.bias", "head.weight", "head.bias"),
        *(f"blocks.0.{part}.0.weight" for part in ("expand", "project")),
        *(f"blocks.0.{part}.1.{key}" for part in ("expand", "project") for key in KEYS),
    }
    assert set(Student(8, [8], "plain").state_dict()) == {
        *("stem.weight", "stem.bias", "head.weight", "head.bias"),
        *(f"blocks.0.{part}.{key}" for part in ("expand", "project") for key in KEYS),
    }
    assert set(Student(8, [], head="separable").state_dict()) == {
        *("stem.weight", "stem.bias", "head.0.weight", "head.1.weight", "head.1.bias"),
    }


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_arguments_rebuild_the_folded_network(block, batch_norm):
    student = Student(24, [8, 40, 24], block, batch_norm=batch_norm)

    arguments = student.arguments()

    assert arguments == {"width": 24, "inner": [8, 40, 24], "block": block}
    rebuilt = Student(**arguments)
    rebuilt.load_state_dict(fold(student).state_dict())


def test_an_unknown_kind_of_block_is_refused():
    with pytest.raises(ValueError, match="'magic': expected one of separable, plain"):
        Student(8, [8], "magic")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 2}, "scale is 2: expected one of 4, 8"),
        ({"head": "none"}, "head is 'none': expected one of plain, separable"),
        ({"norm": "layer"}, "norm is 'layer': expected one of none, instance"),
        ({"norm": "instance", "batch_norm": True}, "exclude each other"),
    ],
)
def test_options_that_can_not_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Student(8, [8], **options)


def test_parameters_of_each_kind_of_block_by_hand():
    # stem 3·8·8·8 + 8; head 8·48·9 + 48
    edges = 3 * 64 * 8 + 8 + 8 * 48 * 9 + 48
    separable = 2 * (8 * 9) + (8 * 16 + 16) + (16 * 8 + 8) + 8 * 9  # 16 is the inner width
    plain = (8 * 16 * 9 + 16) + (16 * 8 * 9 + 8)

    counts = {
        block: sum(p.numel() for p in Student(8, [16], block).parameters()) for block in BLOCKS
    }

    assert counts == {
        "separable": edges + separable,
        "plain": edges + plain,
    }


@pytest.mark.parametrize("scale", [1, 4, 8])
def test_depth_to_space_orders_row_column_colour(scale):
    x = torch.arange(3.0 * scale * scale).view(1, -1, 1, 1)

    out = depth_to_space(x, scale)

    for row in range(scale):
        for column in range(scale):
            for colour in range(3):
                assert out[0, colour, row, column] == (row * scale + column) * 3 + colour


def test_depth_to_space_keeps_positions_in_place():
    x = torch.rand(2, 48, 3, 5)

    out = depth_to_space(x)

    assert out.shape == (2, 3, 12, 20)
    torch.testing.assert_close(out[:, :, 8:12, 4:8], depth_to_space(x[:, :, 2:3, 1:2]))


def test_in_nhwc_depth_to_space_is_one_transposition():
    x = torch.rand(1, 48, 2, 3)

    nhwc = x.permute(0, 2, 3, 1).reshape(1, 2, 3, 4, 12).permute(0, 1, 3, 2, 4).reshape(1, 8, 12, 3)

    assert torch.equal(depth_to_space(x), nhwc.permute(0, 3, 1, 2))


@pytest.mark.parametrize("options", [*({"block": block} for block in BLOCKS), *OPTIONS])
def test_it_starts_as_a_resize_with_no_grid(options):
    scale = options.get("scale", 4)
    out = Student(8, [8], **options)(torch.rand(1, 3, 32, 48))

    patches = out.unfold(2, scale, scale).unfold(3, scale, scale)
    assert torch.equal(patches, patches[..., :1, :1].expand_as(patches))
    assert patches[..., 0, 0].std() > 1e-3  # and yet it is no flat picture
    assert 0.2 < out.mean() < 0.8


def test_statistics_by_hand():
    images = torch.tensor([[0.0, 1.0], [0.25, 0.25], [0.5, 0.52]]).view(1, 3, 1, 2)

    statistics = channel_statistics(images)

    assert statistics.shape == (1, 2, 3)
    torch.testing.assert_close(statistics[0, 0], torch.tensor([0.5, 0.25, 0.51]))
    # deviation over all pixels; 0 and 0.01 are raised to the floor of 0.02
    torch.testing.assert_close(statistics[0, 1], torch.tensor([0.5, 0.02, 0.02]))


def test_normalised_pictures_have_mean_zero_and_deviation_one():
    images = torch.rand(2, 3, 8, 8) * 0.5 + 0.2

    normalised = normalise(images, channel_statistics(images))

    torch.testing.assert_close(normalised.mean(dim=(2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        normalised.std(dim=(2, 3), unbiased=False), torch.ones(2, 3), atol=1e-4, rtol=0
    )


def test_it_follows_no_change_of_brightness_or_contrast(small_student):
    images = torch.rand(1, 3, 16, 16)

    student = small_student()
    torch.testing.assert_close(student(images * 0.4 + 0.3), student(images), atol=1e-4, rtol=1e-4)


def test_given_statistics_are_used_instead_of_the_pictures_own(small_student):
    student = small_student()
    images = torch.rand(1, 3, 16, 16)
    others = channel_statistics(torch.rand(1, 3, 16, 16) ** 3)

    assert student.usable(others) is others  # each colour has its own deviation
    assert torch.equal(student(images, channel_statistics(images)), student(images))
    assert not torch.allclose(student(images, others), student(images), atol=1e-3)


SHAPED = [*({"block": block} for block in BLOCKS), {"scale": 8}]


@pytest.mark.parametrize("options", [*SHAPED, {"scale": 8, "block": "plain"}])
@pytest.mark.parametrize("blocks", [1, 3])
def test_the_receptive_field_is_true_and_tight(options, blocks, extent):
    student = Student(8, [8] * blocks, **options).double()
    for parameter in student.parameters():  # positive: no dependence can cancel
        nn.init.constant_(parameter, 1 / (1 + parameter[0].numel()))
    statistics = torch.tensor([[[0.0] * 3, [1.0] * 3]], dtype=torch.float64)
    side = 256

    reach = [
        max(extent(lambda x: student(x, statistics), side, side // 2 + i, side // 2))
        for i in range(student.scale)
    ]

    assert max(reach) == (receptive_field(blocks, **options) - 1) / 2


def test_receptive_fields_by_hand():
    # the stem, twice the scale for each position further away, the place in a position
    assert receptive_field(6) == 8 + 13 * 8 + 3
    assert receptive_field(2, "plain", scale=8) == 16 + 5 * 16 + 7


def test_smallest_pictures():
    assert minimum_size() == 4
    assert minimum_size(scale=8) == 8
    assert minimum_size(scale=8, norm="instance") == 16


@pytest.mark.parametrize("options", SHAPED)
def test_nothing_outside_the_receptive_field_matters_once_statistics_are_fixed(
    options, small_student
):
    student = small_student(**options)
    reach = (receptive_field(2, **options) - 1) // 2
    images = torch.rand(1, 3, 96, 96)
    statistics = channel_statistics(images)
    before = student(images, statistics)

    images[:, :, 48, 48] = 1 - images[:, :, 48, 48]
    changed = (student(images, statistics) != before).any(dim=1)[0].nonzero()

    assert len(changed) > 0
    assert (changed - 48).abs().max() <= reach


@pytest.mark.parametrize("options", SHAPED)
def test_a_tile_with_its_halo_gives_the_whole_pictures_result(options, small_student):
    student = small_student(**options)
    halo = -(-(receptive_field(2, **options) - 1) // 2 // 8) * 8  # in whole positions
    images = torch.rand(1, 3, 256, 256)
    whole = student(images)

    tile = images[:, :, 128 - halo : 144 + halo, 128 - halo : 144 + halo]
    out = student(tile, channel_statistics(images))

    torch.testing.assert_close(
        out[:, :, halo:-halo, halo:-halo], whole[:, :, 128:144, 128:144], atol=1e-6, rtol=1e-5
    )


def test_instance_normalisation_looks_at_the_whole_picture(small_student):
    student = small_student(norm="instance")
    images = torch.rand(1, 3, 128, 128)
    statistics = channel_statistics(images)
    before = student(images, statistics)

    images[:, :, :8] = 0

    assert not torch.allclose(student(images, statistics)[:, :, 120:], before[:, :, 120:])


FOLDED = [*SHAPED, {"head": "separable"}]


def pretrained(**options):
    """A student with batch norm that was run on pictures, so that its statistics are not fresh."""
    student = Student(8, [8, 16, 24], batch_norm=True, **options).train()
    nn.init.normal_(student.to_pixels.weight, std=0.1)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for _ in range(8):
        student(torch.rand(4, 3, 32, 32) ** 2)
    return student


@pytest.mark.parametrize("options", FOLDED)
def test_folding_gives_the_same_function_without_batch_norm(options):
    student = pretrained(**options).eval()
    images = torch.rand(2, 3, 24, 40)

    folded = fold(student)

    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(images), student(images), atol=1e-4, rtol=1e-4)
    fresh_statistics = Student(8, [8, 16, 24], batch_norm=True, **options).eval()
    assert not torch.allclose(folded(images), fresh_statistics(images), atol=1e-2)


def test_folding_leaves_the_student_as_it_was():
    student = pretrained(block="separable")
    before = {key: value.clone() for key, value in student.state_dict().items()}

    folded = fold(student)
    nn.init.zeros_(folded.head.weight)

    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


def test_folding_what_is_folded_changes_nothing(small_student):
    student = small_student()
    images = torch.rand(1, 3, 16, 16)

    assert torch.equal(fold(student)(images), student(images))


@pytest.mark.parametrize("training", [True, False])
def test_folding_keeps_mode_and_precision(training):
    folded = fold(pretrained(block="plain").double().train(training))

    assert folded.training is training
    assert {p.dtype for p in folded.parameters()} == {torch.float64}


def test_instance_normalisation_stays(small_student):
    student = small_student(norm="instance")
    for module in student.modules():
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    images = torch.rand(1, 3, 16, 16)

    folded = fold(student)

    assert any(isinstance(m, nn.InstanceNorm2d) for m in folded.modules())
    assert torch.equal(folded(images), student(images))


@pytest.mark.parametrize(
    ("name", "params", "gmacs"), [("nano", 20e3, 0.35), ("tiny", 42e3, 0.672), ("small", 64e3, 1.1)]
)
def test_each_size_keeps_within_its_budget(name, params, gmacs):
    student = student_named(name)

    assert 0.8 * params < count_parameters(student) <= params
    assert 0.8 * gmacs < count_macs(student) / 1e9 <= gmacs


def test_the_recipe_knows_the_same_names():
    assert set(STUDENTS) == set(SHAPES) == {*SIZES, *BLOCKS}
    assert all(isinstance(kind_of(block), Kind) for block in BLOCKS)


def test_a_student_that_learns_has_batch_norm_and_the_named_shape():
    learning = student_named("tiny", learning=True)

    assert any(isinstance(m, nn.BatchNorm2d) for m in learning.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in student_named("tiny").modules())
    assert learning.arguments() == student_named("tiny").arguments()
    assert learning.arguments() == {
        "width": 48,
        "inner": [48] * 5,
        "block": "separable",
        "head": "separable",
    }


def test_one_with_instance_normalisation_learns_without_batch_norm():
    student = student_named("tiny", learning=True, norm="instance")

    assert not any(isinstance(m, nn.BatchNorm2d) for m in student.modules())
    assert any(isinstance(m, nn.InstanceNorm2d) for m in student.modules())


def test_changes_replace_what_the_name_stands_for():
    student = student_named("nano", width=24, blocks=3, inner=8, scale=8)

    assert student.arguments() == {"width": 24, "inner": [8, 8, 8], "block": "plain", "scale": 8}
    assert student_named("nano", width=None).arguments() == student_named("nano").arguments()


def test_blocks_are_as_wide_inside_as_the_trunk():
    assert student_named("plain", width=16, blocks=1).arguments()["inner"] == [16]


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match="'huge': expected one of nano, tiny, small, fast,"):
        student_named("huge")


def test_a_kind_of_blocks_of_another_package_is_a_student(install_extension):
    code = (
        "from nstc.models.student import PLAIN, Kind\n"
        "WIDE = Kind(convolve=PLAIN.convolve, reach=3)\n"
    )
    install_extension("nstc-wide", {"nstc.blocks": {"wide": "WIDE"}}, code)

    student = student_named("wide", width=8, blocks=2, learning=True)

    assert DistillRecipe(student="wide").student == "wide"
    assert student.arguments() == {"width": 8, "inner": [8, 8], "block": "wide"}
    assert student(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)
    assert describe(student)[1].receptive_field == 8 + 8 * (2 * 3 + 1) + 3
    with pytest.raises(ValueError, match=r"expected one of nano, .*, plain, wide"):
        student_named("huge")


@pytest.mark.parametrize("name", SHAPES)
def test_every_name_makes_a_network_of_pictures(name):
    student = student_named(name, width=8, blocks=1, learning=True)

    assert student(torch.rand(2, 3, 16, 24)).shape == (2, 3, 16, 24)
