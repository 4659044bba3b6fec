"""The sheet of losses, with an optimisation that only notes what it was asked for."""

import types

import numpy as np
import pytest
from lab import loss_pictures
from PIL import Image

from nstc.core.photos import sample_photos
from nstc.models.losses import LOSSES


@pytest.fixture
def asked(monkeypatch):
    """The recipe and the masks of each picture."""
    calls = []

    def noted(photo, painting, output, *, recipe, **masks):
        given = {name: np.array(Image.open(path)) for name, path in masks.items() if path}
        calls.append((recipe, given))
        gray = np.full((recipe.size, recipe.size, 3), 10 * len(calls), np.uint8)
        return types.SimpleNamespace(rgb=gray, style=0.5, content=0.5)

    monkeypatch.setattr(loss_pictures.nstc, "optimize", noted)
    return calls


def test_every_loss_of_the_table_has_a_picture_after_the_same_steps(asked) -> None:
    photos = {path.stem: path for path in sample_photos()}
    sheet = loss_pictures.loss_sheet(photos["astronaut"], photos["coffee"], size=64, steps=3)

    recipes = [recipe for recipe, _ in asked]
    used = {name for own in recipes for name in (*own.style_terms, *own.content_terms)}
    assert used | {"tv"} == set(LOSSES)
    assert any(own.tv_weight for own in recipes)
    assert any(not own.content_weight for own in recipes)
    assert {(own.size, own.steps) for own in recipes} == {(64, 3)}
    columns = {len(row) for row in loss_pictures.ROWS}
    assert columns == {6}
    assert sheet.shape[1] == 6 * loss_pictures.SHOWN + 5 * 4  # gaps of a contact sheet
    assert {10 * n for n in range(1, 11)} <= set(np.unique(sheet)), "a picture is missing"


def test_regions_of_both_pictures_are_masked_for_the_semantic_loss_alone(asked) -> None:
    photos = {path.stem: path for path in sample_photos()}
    loss_pictures.loss_sheet(photos["rocket"], photos["coffee"], size=64, steps=1)
    masked = {recipe.style_losses: masks for recipe, masks in asked if masks}
    assert list(masked) == ["semantic=1"]
    of_photo, of_style = (masked["semantic=1"][name] for name in ("photo_mask", "style_mask"))
    assert of_photo.shape[:2] == of_style.shape[:2] == (64, 64)
