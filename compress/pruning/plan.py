"""What a pruning will remove, decided beforehand: blocks, then how wide each group stays."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta
from torch import nn

from nstc.compress.pruning.block_dropping import Blocks
from nstc.compress.pruning.channel_groups import channel_groups
from nstc.compress.pruning.importance import Scores
from nstc.compress.pruning.stopwatch import Stopwatch
from nstc.compress.pruning.survey import Survey, narrowed
from nstc.compress.pruning.width_costs import width_costs
from nstc.compress.pruning.width_plans import (
    Ladder,
    LatencySearch,
    Widths,
    by_score,
    by_sensitivity,
    fastest_multiple,
    full_widths,
    share_within,
    uniform,
    widest_within,
)
from nstc.core.amounts import parse_latency, parse_macs
from nstc.core.decoding import Count, DecodingError, decode, parse_json, read_file
from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.recipe.prune_recipe import AUTO, PruneRecipe
from nstc.models.complexity import count_macs

DEFAULT_RATIO: Final = 0.25

_DEFAULT_TARGET: Final = "cpu:1"
_MULTIPLES: Final = (4, 8, 16, 32)
"""Of channels, that `--round-to auto` tries."""


@dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """What to remove."""

    dropped: tuple[Count, ...]  # positions of the residual blocks that go, in that order
    round_to: Annotated[int, Meta(ge=1, le=4096)]  # what widths are multiples of
    widths: Widths  # channels left of each group, of the network without those blocks
    # Times in milliseconds and the like, for the model's history.
    findings: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path, identity: str) -> None:
        """Keep it beside the checkpoints: a clock would not give the same again."""
        with atomic_file(path) as draft:
            draft.write_text(json.dumps({"identity": identity, **asdict(self)}), encoding="utf-8")

    @staticmethod
    def read(path: Path, identity: str) -> "PruningPlan | None":
        """What `write` wrote for the same identity, if it did."""
        if not path.is_file():
            return None
        try:
            content = parse_json(read_file(path))
            if not isinstance(content, dict) or content.pop("identity", None) != identity:
                return None
            return decode(content, PruningPlan)
        except (OSError, DecodingError):
            return None  # half written by hand: it is made again


def make_plan(network: nn.Module, recipe: PruneRecipe, survey: Survey) -> PruningPlan:
    """Decide what to remove of the network that `survey` is about.

    Raises:
        OptionError: a goal can't be reached, or nothing would be removed.
    """
    blocks = Blocks(network, survey)
    planner = _Planner(network, recipe, survey)
    if recipe.drop_blocks == AUTO:
        blocks.drop_while_cheap(planner.work_in_the_end(), planner.multiple)
    else:
        blocks.drop(int(recipe.drop_blocks))
    if blocks.dropped:
        planner = _Planner(blocks.network, recipe, survey)
    plan = planner.plan(tuple(blocks.dropped))
    if not plan.dropped and plan.widths == planner.full:
        raise OptionError(planner.nothing_to_do(plan))
    return plan


class _Planner:
    """Decides on the widths of one network, which may have lost blocks already."""

    def __init__(self, network: nn.Module, recipe: PruneRecipe, survey: Survey) -> None:
        self._network, self._recipe, self._survey = network, recipe, survey
        self._latency = recipe.target_latency and parse_latency(recipe.target_latency)
        self._ratio = recipe.ratio or DEFAULT_RATIO
        self._groups = channel_groups(network)
        self._costs = width_costs(network, self._groups)
        self.full = full_widths(self._groups)
        self.multiple = 8 if recipe.round_to == AUTO else int(recipe.round_to)
        """Of channels, where nothing is measured."""

    def plan(self, dropped: tuple[int, ...]) -> PruningPlan:
        """The widths for the goal that was given."""
        recipe, groups = self._recipe, self._groups
        if dropped and recipe.drop_blocks != AUTO and not self._narrows():
            return PruningPlan(dropped=dropped, round_to=self.multiple, widths=self.full)
        scores = self._survey.scores(self._network)
        round_to = self.multiple
        findings: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            if self._latency or recipe.round_to == AUTO:
                target = self._latency.target if self._latency else _DEFAULT_TARGET
                watch = stack.enter_context(self._survey.timing(self._network, target))
            if recipe.round_to == AUTO:
                round_to, findings = self._round_to(scores, watch)
            ladder = self._ladder(scores, round_to)
            if self._latency:
                found = LatencySearch(
                    ladder,
                    groups,
                    lambda widths: watch.ms(narrowed(self._network, scores, widths)),
                    round_to,
                    self._survey.progress,
                ).reach(self._latency.ms)
                findings |= {
                    "latency_target": self._latency.target,
                    "latency_ms_before": round(watch.whole_ms, 4),
                    "latency_ms": round(found.ms, 4),
                }
                return PruningPlan(
                    dropped=dropped, round_to=round_to, widths=found.widths, findings=findings
                )
        share = self._share(ladder, round_to)
        goal = self._goal(count_macs(self._survey.network))
        widths = ladder(share)
        if goal is not None:
            widths = widest_within(ladder, share, self._costs.macs, goal)
        held = sum(group.width * (1 - share) < round_to < group.width for group in groups)
        if held and recipe.distribution == "uniform":
            self._survey.progress.note(
                f"{held} of {len(groups)} layers would be emptied: they keep {round_to} channels"
            )
        return PruningPlan(dropped=dropped, round_to=round_to, widths=widths, findings=findings)

    def work_in_the_end(self) -> int:
        """About how many multiply-accumulates the pruned network will have."""
        macs = count_macs(self._network)
        if (goal := self._goal(macs)) is not None:
            return goal
        if self._latency:
            with self._survey.timing(self._network, self._latency.target) as watch:
                return int(macs * min(1.0, self._latency.ms / watch.whole_ms))
        return self._costs.macs(uniform(self._groups, self.multiple)(self._ratio))

    def nothing_to_do(self, plan: PruningPlan) -> str:
        """Why nothing would be removed."""
        if self._latency:
            return (
                f"nothing is removed: the network takes {plan.findings['latency_ms']:.3g} ms on "
                f"{self._latency.target}, less than {self._latency.ms:g} ms. Ask for less time."
            )
        what = f"at ratio {self._ratio:.2f}" if self._goal(0) is None else "for this goal"
        return (
            f"nothing is removed {what} with widths in multiples of {plan.round_to}: "
            "ask for more, or lower --round-to."
        )

    def _narrows(self) -> bool:
        """Whether anything beside a number of blocks was asked for."""
        return self._recipe.ratio is not None or self._goal(0) is not None or bool(self._latency)

    def _goal(self, macs: int) -> int | None:
        """Multiply-accumulates to reach, of a network that has `macs`; None if none were given."""
        if self._recipe.speedup is not None:
            return int(macs / self._recipe.speedup)
        if self._recipe.target_macs is not None:
            return parse_macs(self._recipe.target_macs)
        return None

    def _round_to(self, scores: Scores, watch: Stopwatch) -> tuple[int, dict[str, Any]]:
        """What widths are to be multiples of, and what was measured to find out."""
        measured: dict[str, float] = {}

        def time_per_work(multiple: int) -> float | None:
            ladder = uniform(self._groups, multiple)
            widths = ladder(self._share(ladder, multiple, loosely=True))
            if widths == self.full:
                return None
            ms = watch.ms(narrowed(self._network, scores, widths))
            per_gmac = measured[str(multiple)] = round(ms / self._costs.macs(widths) * 1e9, 4)
            self._survey.progress.note(f"multiples of {multiple}: {per_gmac:.3g} ms a GMAC")
            return per_gmac

        best = fastest_multiple(_MULTIPLES, time_per_work)
        return best, {"round_to": best, "ms_per_gmac": measured}

    def _ladder(self, scores: Scores, round_to: int) -> Ladder:
        if self._recipe.distribution == "uniform":
            return uniform(self._groups, round_to)
        if self._recipe.distribution == "global":
            return by_score(self._groups, scores, round_to)
        damage = self._survey.damage_of_halves(self._network, scores)
        return by_sensitivity(
            self._groups,
            {name: found.distance for name, found in damage.items()},
            {name: float(self._costs.with_half_of(name, self.full)) for name in self.full},
            round_to,
        )

    def _share(self, ladder: Ladder, round_to: int, *, loosely: bool = False) -> float:
        """The share of the channels that goes.

        Args:
            ladder: Gives the widths at a share.
            round_to: What they are multiples of.
            loosely: Give the default where the goal is out of reach, or is a time.

        Raises:
            OptionError: the goal is out of reach.
        """
        recipe = self._recipe
        whole = self._costs.macs(self.full)
        goal = self._goal(count_macs(self._survey.network))
        if goal is None:
            return self._ratio
        if whole <= goal:
            return 0.0
        share = share_within(ladder, lambda widths: self._costs.macs(widths) <= goal)
        if share is not None:
            return share
        if loosely:
            return DEFAULT_RATIO
        fewest = self._costs.macs(ladder(1.0 - 1e-9))
        what = f"target-macs {recipe.target_macs}"
        if recipe.speedup is not None:
            what = f"a speed-up of {recipe.speedup}"
        raise OptionError(
            f"{what} can't be reached by removing channels from this network with widths in "
            f"multiples of {round_to}: the nearest reached is {fewest / 1e9:.3g} GMACs, "
            f"{whole / fewest:.3g} times fewer. Ask for less, or lower --round-to."
        )
