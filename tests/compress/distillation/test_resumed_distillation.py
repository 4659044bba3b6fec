"""Distillations that were interrupted, and go on or start afresh."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import checkpoints_of, losses_of

from nstc.compress.learning.loop import CHECKPOINT_FILE
from nstc.core.bundle import Bundle
from nstc.core.errors import (
    Interrupted,
    OptionError,
)
from nstc.core.files import sha256_of
from nstc.core.photos import PhotoSet
from nstc.models.transformer import TransformerNet

Distill = Callable[..., Bundle]


@pytest.mark.parametrize("stage", ["pixels", "perceptual"])
def test_an_interrupted_run_that_is_resumed_ends_as_one_that_was_not(
    distilled: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type, stage: str
) -> None:
    output = tmp_path / "small"
    with pytest.raises(Interrupted, match="--resume"):
        distill_tiny(output, progress=recorder(ctrl_c_at=(stage, 2)))
    assert not output.exists()
    assert stage in checkpoints_of(output)
    told = recorder()
    resumed = distill_tiny(output, resume=True, progress=told)
    assert (stage, 3, 2) in told.begun
    assert resumed.identity == distilled.identity
    for one in ("pixels", "perceptual"):
        assert losses_of(output, one) == losses_of(distilled.path, one)
    assert checkpoints_of(output) == []


def test_pictures_of_the_teacher_that_were_made_before_ctrl_c_are_kept(
    distilled: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
) -> None:
    with pytest.raises(Interrupted, match=r"1 of 2 pictures .* Run the same command again"):
        distill_tiny(tmp_path / "small", progress=recorder(ctrl_c_at=("teacher outputs", 1)))
    told = recorder()
    made = distill_tiny(tmp_path / "small", progress=told)
    assert told.begun[0] == ("teacher outputs", 2, 1)
    assert made.identity == distilled.identity


def test_the_teacher_is_not_asked_again(
    distill_tiny: Distill, tmp_path: Path, recorder: type
) -> None:
    first, second = recorder(), recorder()
    distill_tiny(tmp_path / "first", progress=first, pixel_steps=1, steps=0)
    distill_tiny(tmp_path / "second", progress=second, pixel_steps=1, steps=0, width=8)
    assert [title for title, _, _ in first.begun] == ["teacher outputs", "pixels"]
    assert [title for title, _, _ in second.begun] == ["pixels"]


@pytest.mark.parametrize("stage", ["pixels", "perceptual"])
def test_a_checkpoint_of_other_settings_is_refused_and_kept(
    distill_tiny: Distill,
    make_styled_bundle: Callable[..., Bundle],
    photos: PhotoSet,
    tmp_path: Path,
    recorder: type,
    stage: str,
) -> None:
    output = tmp_path / "small"
    with pytest.raises(Interrupted):
        distill_tiny(output, progress=recorder(ctrl_c_at=(stage, 1)))
    checkpoint = tmp_path / "small.training" / stage / CHECKPOINT_FILE
    before = sha256_of(checkpoint)
    torch.manual_seed(9)
    another = make_styled_bundle(TransformerNet((8, 8, 8), (), (8, 8)), tmp_path / "another")
    others: list[dict[str, Any]] = [
        {"width": 8} if stage == "pixels" else {"style_weight": 3.0},
        {"teacher": another.path},
        {"photos": PhotoSet(photos.paths[::-1], photos.names)},
    ]
    for other in others:
        with pytest.raises(OptionError, match="other settings"):
            distill_tiny(output, resume=True, **other)
    assert sha256_of(checkpoint) == before


def test_the_first_stage_outlives_a_change_of_the_seconds_settings(
    distill_tiny: Distill, tmp_path: Path, recorder: type
) -> None:
    output = tmp_path / "small"
    with pytest.raises(Interrupted):
        distill_tiny(output, progress=recorder(ctrl_c_at=("pixels", 3)))
    told = recorder()
    resumed = distill_tiny(output, resume=True, style_weight=3.0, progress=told)
    assert told.begun == [("pixels", 3, 3), ("perceptual", 3, 0)]
    assert resumed.identity == distill_tiny(tmp_path / "afresh", style_weight=3.0).identity


def test_without_resume_it_starts_afresh(
    distilled: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
) -> None:
    output = tmp_path / "small"
    with pytest.raises(Interrupted):
        distill_tiny(output, seed=5, progress=recorder(ctrl_c_at=("perceptual", 1)))
    told = recorder()
    made = distill_tiny(output, progress=told)
    assert [done for title, _, done in told.begun if title != "teacher outputs"] == [0, 0]
    assert made.identity == distilled.identity
