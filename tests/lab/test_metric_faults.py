"""What the table says a metric sees, from rows that are given and from one that is measured."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from lab import metric_faults
from lab.metric_faults import (
    FLOAT_STUDENT,
    NUMBERS,
    ONE_PHOTO,
    TEACHER,
    Finding,
    Stylist,
    faulty,
    markdown,
    measured,
    readings,
    smallest_sets,
    summary,
    worse_by,
)
from lab.planted_faults import FAULTS, NO_FAULT

from nstc.core.bundle import open_bundle
from nstc.core.photos import sample_photos

NONE = dict.fromkeys(NUMBERS, 1.0)


def rows(style_ratio: float, fault: float, **others: float) -> dict[str, dict[str, float]]:
    """Of one style: the teacher, the student in float and in int8, and with a blur."""
    unchanged = {TEACHER: NONE, FLOAT_STUDENT: NONE, NO_FAULT: {**NONE, "style_ratio": style_ratio}}
    return {**unchanged, "blur": {**NONE, "style_ratio": fault, **others}}


def sign(name: str, *styles: dict[str, dict[str, float]]) -> Finding:
    return readings({str(own): each for own, each in enumerate(styles)})["blur"][name].sign


def test_a_fault_is_seen_by_itself_only_if_it_is_worse_than_every_unchanged_model():
    assert sign("style_ratio", rows(1.2, 1.3)) is Finding.SEEN
    assert sign("style_ratio", rows(1.2, 1.21)) is Finding.NOTHING, "within the tolerance of 2 %"
    assert sign("style_ratio", rows(1.2, 1.3), rows(1.4, 1.5)) is Finding.WITH_BASELINE
    assert sign("style_ratio", rows(1.2, 1.3), rows(1.2, 1.2)) is Finding.NOTHING
    assert sign("style_ratio", rows(1.2, 1.3), rows(1.2, 1.0)) is Finding.BETTER


def test_worse_is_more_or_less_or_either_as_the_metric_has_it():
    assert worse_by("ssim", 0.4, [0.5, 1.0]) == pytest.approx(0.1 / 0.0015)
    assert worse_by("ssim", 0.6, [0.5, 1.0]) < 0
    assert worse_by("lightness_shift", 1.0, [0.0, -2.0]) == pytest.approx(10)
    assert worse_by("lightness_shift", -3.0, [0.0, -2.0]) == pytest.approx(10)
    assert worse_by("psnr_db", 60.0, [math.inf]) == 0, "both above the ceiling"
    assert worse_by("style_ratio_worst", 1.08, [1.0]) == pytest.approx(2), "the tail's tolerance"


def test_the_table_has_the_number_of_the_style_that_shows_least():
    table = {"one": rows(1.2, 3.0), "other": rows(1.2, 2.0)}
    header, _, unchanged, blur, *counts = markdown(table, readings(table)).splitlines()
    assert header.startswith("| fault | style_ratio | content_ratio |")
    assert unchanged.startswith("| unchanged models | 1.00 to 1.20 | 1.00 to 1.00 |")
    assert blur.startswith("| blur | ● 2.00 | 1.00 |")
    assert [own.split(" | ")[1] for own in counts] == ["1", "1", "0"]


def test_the_summary_tells_what_is_seen_by_one_alone_and_by_none():
    blur = rows(1.2, 3.0)
    table = {"one": {**blur, "rounding": blur[NO_FAULT]}}
    assert summary(readings(table)).splitlines() == [
        "seen by themselves by none: rounding",
        "seen by themselves by style_ratio alone: blur",
        "all that are seen by themselves, by style_ratio",
        "seen with a baseline by none: rounding",
        "seen with a baseline by style_ratio alone: blur",
        "all that are seen with a baseline, by style_ratio",
    ]


def test_smallest_sets_are_all_of_the_smallest_size():
    assert smallest_sets([{"ssim", "psnr_db"}, {"ssim", "color_drift"}]) == [("ssim",)]
    pairs = smallest_sets([{"ssim", "psnr_db"}, {"color_drift"}])
    assert pairs == [("ssim", "color_drift"), ("psnr_db", "color_drift")]


class Student:
    """Stands for a session: halves the contrast, adds a level, and counts its runs."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.runs = 0

    def run(self, rgb):
        self.runs += 1
        return (rgb // 2 + self.level).astype(np.uint8)


def test_a_student_runs_once_a_photograph_and_one_fault_is_in_the_first_alone():
    student, photos = Student(10), [np.full((64, 64, 3), own, np.uint8) for own in (10, 20)]
    for photo in photos:
        photo[:2] = 100
    sessions = faulty(Stylist(student), Stylist(Student(90)), photos[0])
    blank, whole = (sessions[ONE_PHOTO].run(photo) for photo in photos)
    assert (blank == blank[0, 0]).all()
    assert (whole == photos[1] // 2 + 10).all()
    assert (sessions["all in another style"].run(photos[1]) == photos[1] // 2 + 90).all()
    assert (sessions["half the resolution"].run(photos[1]) == whole).all()
    assert student.runs == 2


def test_rows_are_those_of_the_benchmark_with_the_faults_planted(monkeypatch):
    chosen = (NO_FAULT, "all blank", "the photograph itself", "all in another style")
    monkeypatch.setattr(metric_faults, "FAULTS", {own: FAULTS[own] for own in chosen})
    levels = {"zoo:starry-night/teacher": 60, "zoo:starry-night": 70, "zoo:udnie": 0}

    def find(name):
        session = Student(levels.get(name, 30))
        teacher = open_bundle(name) if name.endswith("teacher") else None
        return SimpleNamespace(bundle=teacher, open=lambda *_: session)

    found = measured(["starry-night", "udnie"], sample_photos().take(1), find, size=64, planted=1)
    assert set(found["starry-night"]) == {TEACHER, FLOAT_STUDENT, ONE_PHOTO, *chosen}
    assert set(found["udnie"]) == {TEACHER, FLOAT_STUDENT, NO_FAULT}
    own = {fault: rows["lightness_shift"] for fault, rows in found["starry-night"].items()}
    assert own["all in another style"] < own[TEACHER] == 0 < own[NO_FAULT] == own[FLOAT_STUDENT]
    assert found["starry-night"]["the photograph itself"]["content_ratio"] == 0
    blank = (found["starry-night"][own]["ssim"] for own in ("all blank", ONE_PHOTO))
    assert len(set(blank)) == 1, "of one photograph"
