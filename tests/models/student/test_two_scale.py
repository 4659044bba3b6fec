"""The student of two scales: what enters it, how far it reaches, and what tiles of it are."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from nstc.core.decoding import DecodingError, decode
from nstc.core.manifest import MAX_DILATIONS, Contract
from nstc.models.student import (
    TwoScaleStudent,
    channel_statistics,
    fold,
    student_named,
    with_shared_deviation,
)
from nstc.models.student.two_scale import dilations_of, receptive_field_of_two_scales

SHAPED = [{}, {"block": "plain"}, {"dilations": [1, 3]}, {"head": "plain"}, {"details": [12, 16]}]


def small(**options: object) -> TwoScaleStudent:
    """One whose 48 outputs differ, as they do after training."""
    student = TwoScaleStudent(16, [8, 24], 8, **options)  # type: ignore[arg-type]
    nn.init.normal_(student.to_pixels.weight, std=0.1)
    return student.eval()


@pytest.mark.parametrize("options", SHAPED)
def test_it_makes_pictures_of_any_multiple_of_eight(options):
    for height, width in ((8, 8), (16, 40), (64, 24)):
        assert small(**options)(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)


@pytest.mark.parametrize("options", SHAPED)
def test_arguments_rebuild_it(options):
    student = small(**options)
    rebuilt = TwoScaleStudent(**student.arguments())
    rebuilt.load_state_dict(student.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(rebuilt.eval()(images), student(images))


def test_the_keys_of_a_bundle_stay():
    keys = {key.rpartition(".")[0] for key in small().state_dict()}
    blocks = {
        f"blocks.{number}.{part}.{layer}"
        for number in (0, 1)
        for part in ("expand", "project")
        for layer in (0, 1)
    }
    assert keys == {"stem", "down", "up", "head.0", "head.1", *blocks}
    detailed = {key.rpartition(".")[0] for key in small(details=[12]).state_dict()}
    assert detailed - keys == {"details.0.0", "details.0.1"}


def test_folding_gives_the_same_function_without_batch_norm():
    student = student_named("fast", learning=True)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias, std=0.1)
    images = torch.rand(1, 3, 48, 48)
    expected = student.eval()(images)
    torch.testing.assert_close(fold(student)(images), expected, atol=1e-5, rtol=1e-5)


def test_folded_statistics_are_those_of_a_normalised_picture():
    student = small()
    nn.init.normal_(student.stem.bias)
    images = torch.rand(2, 3, 32, 32) * torch.tensor([0.2, 0.9])[:, None, None, None]
    folded = student(images)  # in evaluation mode
    torch.testing.assert_close(student.train()(images), folded, atol=1e-5, rtol=1e-5)


def test_statistics_are_of_every_fourth_row():
    images = torch.rand(2, 3, 16, 8)
    found = small().statistics(images)
    torch.testing.assert_close(found, channel_statistics(images[:, :, [0, 4, 8, 12]]))
    assert not torch.allclose(found, channel_statistics(images), atol=1e-4)


def test_one_deviation_by_hand():
    statistics = torch.tensor([[[0.1, 0.2, 0.3], [0.3, 0.4, 1.2]]])
    expected = torch.tensor([[[0.1, 0.2, 0.3], [1.69**0.5 / 3**0.5] * 3]])
    torch.testing.assert_close(with_shared_deviation(statistics), expected)
    torch.testing.assert_close(small().usable(statistics), expected)


def test_it_follows_no_change_of_brightness_or_contrast():
    student, images = small(), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(student(images * 0.5 + 0.3), student(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("dilations", "details"), [([1], []), ([1, 2, 1], []), ([3], []), ([2], [8]), ([1], [8, 4])]
)
@pytest.mark.parametrize("block", ["separable", "plain"])
def test_the_receptive_field_is_true_and_tight(dilations, details, block, extent):
    student = TwoScaleStudent(
        8, [8] * len(dilations), 8, block, dilations=dilations, details=details
    ).double()
    for parameter in student.parameters():  # positive: no dependence can cancel
        nn.init.constant_(parameter, 1 / (1 + parameter[0].numel()))
    statistics = torch.tensor([[[0.0] * 3, [1.0] * 3]], dtype=torch.float64)

    reach = [
        max(extent(lambda x: student(x, statistics), 256, 128 + row, 128))
        for row in range(student.period)
    ]

    expected = receptive_field_of_two_scales(dilations, block, details=len(details))
    assert max(reach) == (expected - 1) / 2


def test_the_largest_receptive_field_fits_a_manifest():
    def fits(dilations):
        decode(
            {
                "size_multiple": 8,
                "minimum_size": 8,
                "receptive_field": receptive_field_of_two_scales([dilations]),
                "locality": "exact",
            },
            Contract,
        )

    fits(MAX_DILATIONS)
    with pytest.raises(DecodingError, match="receptive_field"):
        fits(MAX_DILATIONS + 1)


@pytest.mark.parametrize("details", [[], [12]])
def test_a_tile_with_its_halo_gives_the_whole_pictures_result(details):
    student = small(details=details)
    halo = -(-(student.contract().receptive_field - 1) // 2 // 8) * 8
    images = torch.rand(1, 3, 384, 384)
    whole = student(images)

    tile = images[:, :, 184 - halo : 208 + halo, 184 - halo : 208 + halo]
    out = student(tile, student.statistics(images))

    torch.testing.assert_close(
        out[:, :, halo:-halo, halo:-halo], whole[:, :, 184:208, 184:208], atol=1e-6, rtol=1e-5
    )


def test_all_blocks_but_the_first_and_the_last_have_gaps():
    assert [dilations_of(count) for count in range(1, 6)] == [
        *([1], [1, 1], [1, 2, 1], [1, 2, 2, 1], [1, 2, 2, 2, 1])
    ]
    student = TwoScaleStudent(8, [8] * 3, 8)
    gaps = [
        layer.dilation[0]
        for block in student.blocks
        for layer in block.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert gaps == [1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dilations": [1]}, "1 dilations for 2 blocks: one for each"),
        ({"head": "none"}, "head is 'none': expected one of plain, separable"),
        ({"block": "magic"}, "'magic': expected one of separable, plain"),
    ],
)
def test_options_that_can_not_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TwoScaleStudent(8, [8, 8], 8, **options)


@pytest.mark.parametrize("option", [{"scale": 8}, {"norm": "instance"}])
def test_its_name_has_one_choice_of_scales_and_norm(option):
    with pytest.raises(ValueError, match=f"fast has two scales and no {next(iter(option))}"):
        student_named("fast", **option)


def test_gradients_in_bfloat16_are_the_same_each_time():
    """oneDNN's of dilated depthwise weights read memory that was never written, in one layout."""
    student = small(dilations=[2, 2]).train()
    images = torch.rand(1, 3, 96, 96).to(memory_format=torch.channels_last)
    found = []
    for _ in range(6):
        used_before = torch.full((400_000,), float("nan"))
        del used_before
        student.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            stylised = student(images)
        stylised.float().square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in student.parameters()]))
    assert torch.isfinite(found[0]).all()
    assert all(torch.equal(one, other) for one, other in pairwise(found))
