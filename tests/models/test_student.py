import pytest
import torch
from torch import nn

from nstc.models.student import (
    Student,
    channel_statistics,
    depth_to_space,
    fold,
    normalise,
    receptive_field,
)

BLOCKS = ["separable", "plain"]


def taught(block):
    """A student with batch norm that has seen pictures, so that its statistics are not fresh."""
    student = Student(8, [8, 16, 24], block, batch_norm=True).train()
    nn.init.normal_(student.head.weight, std=0.1)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for _ in range(8):
        student(torch.rand(4, 3, 32, 32) ** 2)
    return student


@pytest.mark.parametrize("block", BLOCKS)
def test_folding_gives_the_same_function_without_batch_norm(block):
    student = taught(block).eval()
    images = torch.rand(2, 3, 24, 36)

    folded = fold(student)

    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(images), student(images), atol=1e-5, rtol=1e-5)
    fresh_statistics = Student(8, [8, 16, 24], block, batch_norm=True).eval()
    assert not torch.allclose(folded(images), fresh_statistics(images), atol=1e-2)


def test_folding_leaves_the_student_as_it_was():
    student = taught("separable")
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
    folded = fold(taught("plain").double().train(training))

    assert folded.training is training
    assert {p.dtype for p in folded.parameters()} == {torch.float64}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_arguments_rebuild_the_folded_network(block, batch_norm):
    student = Student(24, [8, 40], block, batch_norm=batch_norm)

    arguments = student.arguments()

    assert arguments == {"width": 24, "inner": [8, 40], "block": block}
    rebuilt = Student(**arguments)
    rebuilt.load_state_dict(fold(student).state_dict())


def test_an_unknown_kind_of_block_is_refused():
    with pytest.raises(ValueError, match="'magic': expected one of separable, plain"):
        Student(8, [8], "magic")  # type: ignore[arg-type]


def test_separable_and_plain_parameters_by_hand():
    # stem 3·8·8·8 + 8; head 8·48·9 + 48
    edges = 3 * 64 * 8 + 8 + 8 * 48 * 9 + 48
    separable = 2 * (8 * 9) + (8 * 16 + 16) + (16 * 8 + 8) + 8 * 9  # 16 is the inner width
    plain = (8 * 16 * 9 + 16) + (16 * 8 * 9 + 8)

    counts = {
        block: sum(p.numel() for p in Student(8, [16], block).parameters()) for block in BLOCKS
    }

    assert counts == {"separable": edges + separable, "plain": edges + plain}


def test_depth_to_space_orders_row_column_colour():
    x = torch.arange(48.0).view(1, 48, 1, 1)

    out = depth_to_space(x)

    for row in range(4):
        for column in range(4):
            for colour in range(3):
                assert out[0, colour, row, column] == (row * 4 + column) * 3 + colour


def test_depth_to_space_keeps_positions_in_place():
    x = torch.rand(2, 48, 3, 5)

    out = depth_to_space(x)

    assert out.shape == (2, 3, 12, 20)
    torch.testing.assert_close(out[:, :, 8:12, 4:8], depth_to_space(x[:, :, 2:3, 1:2]))


def test_in_nhwc_depth_to_space_is_one_transposition():
    x = torch.rand(1, 48, 2, 3)

    nhwc = x.permute(0, 2, 3, 1).reshape(1, 2, 3, 4, 12).permute(0, 1, 3, 2, 4).reshape(1, 8, 12, 3)

    assert torch.equal(depth_to_space(x), nhwc.permute(0, 3, 1, 2))


@pytest.mark.parametrize("block", BLOCKS)
def test_it_starts_as_a_resize_with_no_grid(block):
    out = Student(8, [8], block)(torch.rand(1, 3, 16, 24))

    patches = out.unfold(2, 4, 4).unfold(3, 4, 4)
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

    assert torch.equal(student(images, channel_statistics(images)), student(images))
    assert not torch.allclose(student(images, others), student(images), atol=1e-3)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_the_receptive_field_is_true_and_tight(block, blocks, extent):
    student = Student(8, [8] * blocks, block).double()
    for parameter in student.parameters():  # positive: no dependence can cancel
        nn.init.constant_(parameter, 1 / (1 + parameter[0].numel()))
    statistics = torch.tensor([[[0.0] * 3, [1.0] * 3]], dtype=torch.float64)
    side = 96

    reach = [
        max(extent(lambda x: student(x, statistics), side, side // 2 + i, side // 2))
        for i in range(4)
    ]

    assert max(reach) == (receptive_field(blocks) - 1) / 2


@pytest.mark.parametrize("block", BLOCKS)
def test_nothing_outside_the_receptive_field_matters_once_statistics_are_fixed(
    block, small_student
):
    student = small_student(block=block)
    reach = (receptive_field(2) - 1) // 2
    images = torch.rand(1, 3, 96, 96)
    statistics = channel_statistics(images)
    before = student(images, statistics)

    images[:, :, 48, 48] = 1 - images[:, :, 48, 48]
    changed = (student(images, statistics) != before).any(dim=1)[0].nonzero()

    assert len(changed) > 0
    assert (changed - 48).abs().max() <= reach


@pytest.mark.parametrize("block", BLOCKS)
def test_a_tile_with_its_halo_gives_the_whole_pictures_result(block, small_student):
    student = small_student(block=block)
    images = torch.rand(1, 3, 128, 128)
    halo = -(-(receptive_field(2) - 1) // 2 // 4) * 4  # in whole positions
    whole = student(images)

    tile = images[:, :, 64 - halo : 80 + halo, 64 - halo : 80 + halo]
    out = student(tile, channel_statistics(images))

    torch.testing.assert_close(
        out[:, :, halo:-halo, halo:-halo], whole[:, :, 64:80, 64:80], atol=1e-6, rtol=1e-5
    )
