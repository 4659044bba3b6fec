import numpy as np

from nstc.core.images.picture import contact_sheet

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(colour, height=40, width=60):
    return np.full((height, width, 3), colour, np.uint8)


def test_a_single_picture_is_its_own_sheet(pixels):
    assert np.array_equal(contact_sheet([[pixels]]), pixels)


def test_pictures_lie_in_rows_and_columns_with_white_between():
    sheet = contact_sheet([[plain(RED), plain(GREEN)], [plain(BLUE), plain(RED)]])

    assert sheet.shape == (40 + 4 + 40, 60 + 4 + 60, 3)
    assert (sheet[:40, :60] == RED).all()
    assert (sheet[:40, 64:] == GREEN).all()
    assert (sheet[44:, :60] == BLUE).all()
    assert (sheet[44:, 64:] == RED).all()
    assert (sheet[40:44] == 255).all()
    assert (sheet[:, 60:64] == 255).all()


def test_a_short_row_leaves_white():
    sheet = contact_sheet([[plain(RED), plain(RED)], [plain(BLUE)]])

    assert (sheet[44:, 64:] == 255).all()


def test_labels_stand_above_their_columns_and_leave_the_pictures_whole():
    sheet = contact_sheet([[plain(RED), plain(GREEN)]], ["i", "WWW"])

    top = sheet.shape[0] - 40
    assert (sheet[top:, :60] == RED).all()
    assert (sheet[top:, 64:] == GREEN).all()
    ink = (sheet[:top] < 128).all(axis=2)
    left, right = ink[:, :60].sum(), ink[:, 64:].sum()
    assert 0 < left < right  # an i takes less ink than three W
    middle = np.nonzero(ink[:, 64:].any(axis=0))[0].mean()
    assert abs(middle - 30) < 3  # centred


def test_labels_are_dark_text_on_white():
    sheet = contact_sheet([[plain(RED)]], ["teacher"])

    top = sheet.shape[0] - 40
    assert sheet[:top].min() < 64
    assert np.median(sheet[:top]) == 255
