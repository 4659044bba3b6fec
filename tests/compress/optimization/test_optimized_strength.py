"""What `style_strength` does to an optimised image."""

import pytest

from nstc.core.images import read_picture


def test_none_is_the_photograph_and_more_is_farther_from_it(run) -> None:
    found = [run(f"{s}.png", style_strength=s, steps=15) for s in (0.0, 0.5, 2.0)]
    assert found[0].content < 0.05
    assert found[0].content < found[1].content < found[2].content
    assert found[0].style > found[1].style > found[2].style


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_none_leaves_the_photograph_as_it_is(run, pictures, optimizer) -> None:
    made = run(style_strength=0.0, steps=40, optimizer=optimizer)
    photo = read_picture(pictures / "photo.png").rgb
    assert abs(made.rgb.astype(int) - photo).mean() < 3


def test_the_weight_of_the_content_loss_changes_none(run) -> None:
    whole, small = (
        run(f"{weight}.png", content_losses=f"content={weight}", steps=20) for weight in (1, 0.001)
    )
    assert small.style == pytest.approx(whole.style, rel=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", pytest.param("adam", marks=pytest.mark.slow)])
def test_a_painting_that_is_the_photograph_is_not_diverged(run, pictures, optimizer) -> None:
    made = run(painting=pictures / "photo.png", steps=60, optimizer=optimizer)
    assert made.style < 0.05


def test_statistics_are_mixed(run) -> None:
    none = run(strength_by="statistics", style_strength=0.0, steps=3)
    assert none.trace[0]["style_loss"] == pytest.approx(0, abs=1e-3)
    assert none.content == pytest.approx(0, abs=0.05)
    most = run("most.png", strength_by="statistics", style_strength=2.0, steps=1)
    assert most.trace[0]["style_loss"] > 0.1


def test_without_balance_the_weights_decide(run) -> None:
    weak = run(balance=False, style_weight=1.0, content_weight=100.0, steps=10)
    strong = run("strong.png", balance=False, style_weight=10.0, steps=10)
    assert "balance" not in weak.trace[0]
    assert weak.content < strong.content
    assert strong.style < weak.style


def test_weights_of_content_change_no_level(run) -> None:
    plain = run(steps=6)
    weighted = run("weighted.png", steps=6, content_losses="content=3")
    assert weighted.content == pytest.approx(3 * plain.content, rel=0.25)


def test_at_one_statistics_are_the_paintings_of_any_loss(run) -> None:
    losses = {"style_losses": "gram=1,patches=1", "style_size": 40, "steps": 1}
    by_loss, by_statistics = (
        run(f"{by}.png", strength_by=by, **losses) for by in ("loss", "statistics")
    )
    assert by_statistics.trace == by_loss.trace
