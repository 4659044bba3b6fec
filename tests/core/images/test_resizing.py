import numpy as np

from nstc.core.images import centre_square, resize, resize_longer_side, resize_shorter_side


class TestResizing:
    def test_the_shorter_side(self) -> None:
        assert resize_shorter_side(np.zeros((40, 100, 3), np.uint8), 20).shape == (20, 50, 3)

    def test_the_longer_side(self) -> None:
        assert resize_longer_side(np.zeros((40, 100, 3), np.uint8), 50).shape == (20, 50, 3)

    def test_a_side_never_vanishes(self) -> None:
        assert resize_longer_side(np.zeros((1, 5000, 3), np.uint8), 100).shape == (1, 100, 3)

    def test_the_centre_square(self) -> None:
        rgb = np.zeros((10, 30, 3), np.uint8)
        rgb[:, 10:20] = 200
        assert (centre_square(rgb, 10) == 200).all()

    def test_to_a_height_and_width(self) -> None:
        assert resize(np.zeros((40, 100, 3), np.uint8), 7, 9).shape == (7, 9, 3)
        assert resize(np.zeros((40, 100), np.uint8), 7, 9).shape == (7, 9)
