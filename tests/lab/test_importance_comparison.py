"""A comparison of importances: its plan, its rows and its table."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lab.importance_comparison import compare, comparison_table, load_plan
from torch import nn

from nstc.core.bundle import Bundle
from nstc.core.errors import OptionError, RecipeError
from nstc.core.photos import PhotoSet
from nstc.models.architectures import count_macs
from nstc.models.transformer import TransformerNet

PLAN = """
models = ["{model}"]
importances = ["magnitude", "activation"]
[prune]
ratio = 0.5
steps = 1
[distill]
size = 64
perceptual_size = 32
[bench]
size = 64
quality_photos = 1
"""

SHIPPED = Path(__file__).parents[2] / "lab" / "plans" / "importances.toml"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return path

    return written


@pytest.mark.slow
def test_each_importance_is_judged_with_and_without_fine_tuning(
    make_styled_bundle: Callable[..., Bundle],
    photos: PhotoSet,
    tmp_path: Path,
    write: Callable[[str], Path],
    recorder: type,
) -> None:
    torch.manual_seed(1)
    network: nn.Module = TransformerNet((16, 16, 16), (16,), (16, 16))
    model = make_styled_bundle(network, tmp_path / "big")
    plan = load_plan(write(PLAN.format(model=model.path)))
    rows = compare(plan, tmp_path / "out", photos=photos, judged=photos)
    assert [row.importance for row in rows] == ["magnitude", "activation"]
    assert all(0 < row.macs < count_macs(network) for row in rows)
    for row in rows:
        before, after = (q.metrics["style_ratio"].median for q in (row.before, row.after))
        assert before != after
    table = comparison_table(rows).splitlines()
    assert table[0].count("|") == 10
    assert all(row.importance in line for row, line in zip(rows, table[2:], strict=True))
    told = recorder()
    again = compare(plan, tmp_path / "out", photos=photos, judged=photos, progress=told)
    assert again == rows
    assert not any(begun[0] == "perceptual" for begun in told.begun)  # nothing was made twice


def test_the_plan_that_ships_is_in_order() -> None:
    plan = load_plan(SHIPPED)
    assert plan.models == ("zoo:starry-night", "zoo:starry-night/teacher")
    assert len(plan.importances) == 4


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ('importances = ["taylor"]', RecipeError, "models is None: expected a list"),
        ('models = "m"\nimportances = ["taylor"]', RecipeError, "models is 'm': expected"),
        ('models = ["m"]\nimportances = ["luck"]', OptionError, "importance is luck"),
        ('models = ["m"]\nimportances = ["taylor"]\n[prun]\n', RecipeError, "unknown key prun"),
        ("models = [", RecipeError, "can't read the plan"),
    ],
)
def test_bad_plans(write: Callable[[str], Path], text: str, kind: type, told: str) -> None:
    with pytest.raises(kind, match=told):
        load_plan(write(text))
