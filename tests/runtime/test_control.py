import numpy as np
import pytest

from nstc.core.errors import OptionError
from nstc.runtime.control import Control, blended, controlled, unblended

PHOTO, PAINTED = (200, 100, 50), (100, 180, 250)


def plain(color, size=(4, 6)) -> np.ndarray:
    return np.full((*size, 3), color, np.uint8)


def mixed(strength, *, preserve_color=False, photo=PHOTO, painted=PAINTED) -> list[int]:
    control = Control(strength=strength, preserve_color=preserve_color)
    result = blended(plain(photo), plain(painted), control)
    assert result.dtype == np.uint8
    return result[1, 2].tolist()


class TestStrength:
    @pytest.mark.parametrize(
        ("strength", "color"),
        [
            (0, PHOTO),
            (1, PAINTED),
            (0.5, (150, 140, 150)),
            (0.25, (175, 120, 100)),
            (1.5, (50, 220, 255)),  # 200 - 150, 100 + 120, and 350 clipped
            (-0.5, (250, 60, 0)),  # 200 + 50, 100 - 40, and -50 clipped
        ],
    )
    def test_a_line_from_the_photograph_through_the_style(self, strength, color) -> None:
        assert mixed(strength) == list(color)

    def test_nothing_of_the_style_does_not_run_the_network(self, pixels) -> None:
        def fail(_rgb: np.ndarray) -> np.ndarray:
            raise AssertionError

        control = Control(strength=0, style_scale=2)
        np.testing.assert_array_equal(controlled(pixels, control, fail), pixels)

    def test_every_row_is_mixed(self) -> None:
        photo = np.random.default_rng(0).integers(0, 256, (200, 3, 3), dtype=np.uint8)
        result = blended(photo, 255 - photo, Control(strength=0.2))
        expected = np.rint(photo + np.float32(0.2) * (255.0 - 2.0 * photo))
        np.testing.assert_array_equal(result, expected.astype(np.uint8))

    @pytest.mark.parametrize(
        ("strength", "told"), [(0, False), (1, False), (-0.1, True), (1.2, True)]
    )
    def test_beyond_the_ends_there_is_a_warning(self, strength, told) -> None:
        assert (Control(strength=strength).warning is not None) == told


class TestPreserveColor:
    def test_brightness_is_the_styles_and_colour_the_photographs(self) -> None:
        # Y of the photograph 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2, of the style 164.06
        assert mixed(1, preserve_color=True) == [240, 140, 90]  # each 39.86 more

    def test_it_is_the_exchange_of_y_in_yiq(self) -> None:
        """Gatys et al. 2016 by the matrix of YIQ, for colours that do not clip."""
        to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
        rng = np.random.default_rng(1)
        for _ in range(20):
            photo = rng.integers(100, 156, 3)
            painted = rng.integers(100, 156, 3)
            yiq = to_yiq @ photo
            yiq[0] = (to_yiq @ painted)[0]
            expected = np.linalg.solve(to_yiq, yiq)
            result = mixed(1, preserve_color=True, photo=photo, painted=painted)
            np.testing.assert_allclose(result, expected, atol=0.51)

    def test_a_grey_photograph_stays_grey(self) -> None:
        assert len(set(mixed(1, preserve_color=True, photo=(90, 90, 90)))) == 1

    def test_half_the_strength_is_half_the_way(self) -> None:
        assert mixed(0.5, preserve_color=True) == [220, 120, 70]

    def test_a_pixel_gives_the_same_bytes_in_every_picture(self) -> None:
        """Halves round by the sum's last bit, so the order of the sum may not follow the shape."""
        photo, painted = np.random.default_rng(2).integers(0, 256, (2, 64, 512, 3), dtype=np.uint8)
        control = Control(strength=1.0, preserve_color=True)
        whole = blended(photo, painted, control)
        narrow = [blended(photo[:, i : i + 1], painted[:, i : i + 1], control) for i in range(512)]
        assert np.array_equal(np.hstack(narrow), whole)


class TestSize:
    def seen_and_made(self, control, size=(40, 60)):
        """The size the network is given, and that of the result."""
        seen = []

        def transfer(rgb: np.ndarray) -> np.ndarray:
            seen.append(rgb.shape[:2])
            return rgb

        result = controlled(plain(PHOTO, size), control, transfer)
        return seen[0], result.shape[:2]

    @pytest.mark.parametrize(
        ("control", "seen", "made"),
        [
            (Control(), (40, 60), (40, 60)),
            (Control(size=30), (20, 30), (20, 30)),
            (Control(size=120), (80, 120), (80, 120)),
            (Control(size=30, upscale_to_original=True), (20, 30), (40, 60)),
            (Control(style_scale=2), (20, 30), (40, 60)),  # half the picture: twice the brush
            (Control(style_scale=0.5), (80, 120), (40, 60)),
            (Control(size=30, style_scale=2), (10, 15), (20, 30)),
        ],
    )
    def test_what_the_network_sees_and_what_comes_out(self, control, seen, made) -> None:
        assert self.seen_and_made(control) == (seen, made)

    def test_without_style_too_the_size_holds(self) -> None:
        small = Control(strength=0, size=30)
        assert controlled(plain(PHOTO, (40, 60)), small, lambda rgb: rgb).shape == (20, 30, 3)

    def test_a_thin_picture_never_vanishes(self) -> None:
        assert self.seen_and_made(Control(style_scale=8), (1, 500)) == ((1, 62), (1, 500))

    def test_enlarged_details_are_the_original_photographs(self) -> None:
        """At half strength half of the result comes from the full-size photograph."""
        photo = np.zeros((40, 40, 3), np.uint8)
        photo[::2] = 200
        control = Control(strength=0.5, size=20, upscale_to_original=True)
        result = controlled(photo, control, lambda rgb: np.full_like(rgb, 100))
        assert set(np.unique(result)) == {50, 150}


@pytest.mark.parametrize("strength", [0, 0.3, 1, 1.5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 20},
        {"size": 80, "upscale_to_original": True},
        {"style_scale": 2, "preserve_color": True},
    ],
)
def test_any_strength_of_one_run_of_the_network(options, strength, pixels) -> None:
    runs: list[np.ndarray] = []

    def negative(rgb: np.ndarray) -> np.ndarray:
        runs.append(rgb)
        return 255 - rgb

    once = unblended(pixels, Control(**options), negative)
    assert len(runs) == 1
    control = Control(strength=strength, **options)
    assert np.array_equal(blended(*once, control), controlled(pixels, control, negative))


@pytest.mark.parametrize(
    "values",
    [
        {"strength": 3.1},
        {"strength": -1.1},
        {"strength": float("nan")},
        {"style_scale": 0},
        {"style_scale": float("inf")},
        {"size": 15},
        {"size": 10**9},
    ],
)
def test_what_is_out_of_range(values) -> None:
    name = next(iter(values)).replace("_", "-")
    with pytest.raises(OptionError, match=rf"^{name} is .*: expected from"):
        Control(**values)
