"""What a pruning will remove, decided beforehand: blocks, then how wide each group stays."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta
from torch import nn

from nstc.compress.block_dropping import Blocks
from nstc.compress.channel_groups import channel_groups
from nstc.compress.importance import Scores
from nstc.compress.stopwatch import Stopwatch
from nstc.compress.survey import Survey, narrowed
from nstc.compress.width_costs import width_costs
from nstc.compress.width_plans import (
    Ladder,
    Widths,
    by_score,
    by_sensitivity,
    full_widths,
    uniform,
)
from nstc.compress.width_search import (
    LatencySearch,
    fastest_multiple,
    share_within,
    widest_within,
)
from nstc.core.amounts import parse_latency, parse_macs
from nstc.core.decoding import Count, DecodingError, decode, parse_json, read_file
from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.prune_recipe import AUTO, PruneRecipe
from nstc.models.complexity import count_macs

DEFAULT_RATIO: Final = 0.25

_DEFAULT_TARGET: Final = "cpu:1"
_MULTIPLES: Final = (4, 8, 16, 32)
"""Of channels, that `--round-to auto` tries."""

_USUAL_MULTIPLE: Final = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to remove.

    Attributes:
        dropped: Positions of the residual blocks that go, in that order.
        round_to: What widths are multiples of.
        widths: Channels left of each group, of the network without those blocks.
        findings: Times in milliseconds and the like, for the model's history.
    """

    dropped: tuple[Count, ...]
    round_to: Annotated[int, Meta(ge=1, le=4096)]
    widths: Widths
    findings: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path, identity: str) -> None:
        """Keep it beside the checkpoints: a clock would not give the same again.

        Raises:
            OutputError: the place can't be written.
        """
        with atomic_file(path) as draft:
            draft.write_text(json.dumps({"identity": identity, **asdict(self)}), encoding="utf-8")

    @staticmethod
    def read(path: Path, identity: str) -> "Plan | None":
        """What `write` wrote for the same identity, if it did."""
        if not path.is_file():
            return None
        try:
            content = parse_json(read_file(path))
            if not isinstance(content, dict) or content.pop("identity", None) != identity:
                return None
            return decode(content, Plan)
        except (OSError, DecodingError):
            return None  # half written by hand: it is made again


def make_plan(network: nn.Module, recipe: PruneRecipe, survey: Survey) -> Plan:
    """Decide what to remove.

    Args:
        network: The one that `survey` is about.
        recipe: What is asked for.
        survey: Asked for scores, damage and time.

    Raises:
        OptionError: a goal can't be reached, or nothing would be removed.
    """
    planner = _Planner(recipe, survey)
    blocks = planner.blocks(network)
    plan = planner.widths(blocks.network, tuple(blocks.dropped))
    if not plan.dropped and plan.widths == full_widths(channel_groups(network)):
        raise OptionError(planner.nothing_to_do(plan))
    return plan


class _Planner:
    def __init__(self, recipe: PruneRecipe, survey: Survey) -> None:
        self._recipe = recipe
        self._survey = survey
        self._latency = recipe.target_latency and parse_latency(recipe.target_latency)

    def blocks(self, network: nn.Module) -> Blocks:
        """The network without the blocks that are to go."""
        blocks = Blocks(network, self._survey)
        if self._recipe.drop_blocks == AUTO:
            blocks.drop_while_cheap(self._work_in_the_end(network), self._multiple_for_counting())
        else:
            blocks.drop(int(self._recipe.drop_blocks))
        return blocks

    def widths(self, network: nn.Module, dropped: tuple[int, ...]) -> Plan:
        """The widths of what is left, for the goal that was given."""
        groups = channel_groups(network)
        if self._only_blocks():
            return Plan(
                dropped=dropped, round_to=self._multiple_for_counting(), widths=full_widths(groups)
            )
        scores = self._survey.scores(network)
        with self._clock(network) as watch:
            round_to, findings = self._round_to(network, scores, watch)
            ladder = self._ladder(network, scores, round_to)
            if self._latency and watch is not None:
                found = LatencySearch(
                    ladder,
                    groups,
                    lambda widths: watch.ms(narrowed(network, scores, widths)),
                    round_to,
                    self._survey.progress,
                ).reach(self._latency.ms)
                findings |= {
                    "latency_target": self._latency.target,
                    "latency_ms_before": round(watch.whole_ms, 4),
                    "latency_ms": round(found.ms, 4),
                }
                return Plan(
                    dropped=dropped, round_to=round_to, widths=found.widths, findings=findings
                )
        share = self._share(network, ladder, round_to)
        goal = self._goal(count_macs(self._survey.network))
        widths = ladder(share)
        if goal is not None:
            widths = widest_within(ladder, share, width_costs(network, groups).macs, goal)
        held = sum(group.width * (1 - share) < round_to < group.width for group in groups)
        if held and self._recipe.distribution == "uniform":
            self._survey.progress.note(
                f"{held} of {len(groups)} layers would be emptied: they keep {round_to} channels"
            )
        return Plan(dropped=dropped, round_to=round_to, widths=widths, findings=findings)

    def nothing_to_do(self, plan: Plan) -> str:
        """Why nothing would be removed."""
        if self._latency:
            return (
                f"nothing is removed: the network takes {plan.findings['latency_ms']:.3g} ms on "
                f"{self._latency.target}, less than {self._latency.ms:g} ms. Ask for less time."
            )
        ratio = self._recipe.ratio or DEFAULT_RATIO
        what = f"at ratio {ratio:.2f}" if self._goal(0) is None else "for this goal"
        return (
            f"nothing is removed {what} with widths in multiples of {plan.round_to}: "
            "ask for more, or lower --round-to."
        )

    def _only_blocks(self) -> bool:
        """Whether a number of blocks was all that was asked for."""
        asked = self._recipe.drop_blocks not in (0, AUTO)
        return asked and self._recipe.ratio is None and self._goal(0) is None and not self._latency

    def _goal(self, macs: int) -> int | None:
        """Multiply-accumulates to reach, of a network that has `macs`; None if none were given."""
        if self._recipe.speedup is not None:
            return int(macs / self._recipe.speedup)
        if self._recipe.target_macs is not None:
            return parse_macs(self._recipe.target_macs)
        return None

    def _work_in_the_end(self, network: nn.Module) -> int:
        """About how many multiply-accumulates the pruned network will have."""
        macs = count_macs(network)
        if (goal := self._goal(macs)) is not None:
            return goal
        if self._latency:
            with self._survey.timing(network, self._latency.target) as watch:
                return int(macs * min(1.0, self._latency.ms / watch.whole_ms))
        groups = channel_groups(network)
        ladder = uniform(groups, self._multiple_for_counting())
        return width_costs(network, groups).macs(ladder(self._recipe.ratio or DEFAULT_RATIO))

    def _multiple_for_counting(self) -> int:
        return _USUAL_MULTIPLE if self._recipe.round_to == AUTO else int(self._recipe.round_to)

    @contextlib.contextmanager
    def _clock(self, network: nn.Module) -> Iterator[Stopwatch | None]:
        """A stopwatch, if anything is to be measured."""
        if not self._latency and self._recipe.round_to != AUTO:
            yield None
            return
        target = self._latency.target if self._latency else _DEFAULT_TARGET
        with self._survey.timing(network, target) as watch:
            yield watch

    def _round_to(
        self, network: nn.Module, scores: Scores, watch: Stopwatch | None
    ) -> tuple[int, dict[str, Any]]:
        """What widths are to be multiples of, and what was measured to find out."""
        if self._recipe.round_to != AUTO or watch is None:
            return self._multiple_for_counting(), {}
        groups = channel_groups(network)
        costs = width_costs(network, groups)
        measured: dict[str, float] = {}

        def time_per_work(multiple: int) -> float | None:
            ladder = uniform(groups, multiple)
            share = self._share(network, ladder, multiple, loosely=True)
            widths = ladder(share)
            if widths == full_widths(groups):
                return None
            ms = watch.ms(narrowed(network, scores, widths))
            measured[str(multiple)] = round(ms / costs.macs(widths) * 1e9, 4)
            self._survey.progress.note(
                f"multiples of {multiple}: {measured[str(multiple)]:.3g} ms a GMAC"
            )
            return measured[str(multiple)]

        best = fastest_multiple(_MULTIPLES, time_per_work)
        return best, {"round_to": best, "ms_per_gmac": measured}

    def _ladder(self, network: nn.Module, scores: Scores, round_to: int) -> Ladder:
        groups = channel_groups(network)
        if self._recipe.distribution == "uniform":
            return uniform(groups, round_to)
        if self._recipe.distribution == "global":
            return by_score(groups, scores, round_to)
        costs = width_costs(network, groups)
        full = full_widths(groups)
        damage = self._survey.damage_of_halves(network, scores)
        return by_sensitivity(
            groups,
            {name: found.distance for name, found in damage.items()},
            {group.name: float(costs.with_half_of(group.name, full)) for group in groups},
            round_to,
        )

    def _share(
        self, network: nn.Module, ladder: Ladder, round_to: int, *, loosely: bool = False
    ) -> float:
        """The share of the channels that goes.

        Args:
            network: To be narrowed.
            ladder: Gives the widths at a share.
            round_to: What they are multiples of.
            loosely: Give the default where the goal is out of reach, or is a time.

        Raises:
            OptionError: the goal is out of reach.
        """
        groups = channel_groups(network)
        costs = width_costs(network, groups)
        whole = costs.macs(full_widths(groups))
        goal = self._goal(count_macs(self._survey.network))
        if goal is None:
            return self._recipe.ratio or DEFAULT_RATIO
        if whole <= goal:
            return 0.0
        share = share_within(ladder, lambda widths: costs.macs(widths) <= goal)
        if share is not None:
            return share
        if loosely:
            return DEFAULT_RATIO
        fewest = costs.macs(ladder(1.0 - 1e-9))
        raise OptionError(self._out_of_reach(whole, fewest, round_to))

    def _out_of_reach(self, whole: int, fewest: int, round_to: int) -> str:
        recipe = self._recipe
        what = (
            f"a speed-up of {recipe.speedup} can't be reached"
            if recipe.speedup is not None
            else f"target-macs {recipe.target_macs} can't be reached"
        )
        return (
            f"{what} by removing channels from this network with widths in multiples of "
            f"{round_to}: the nearest reached is {fewest / 1e9:.3g} GMACs, "
            f"{whole / fewest:.3g} times fewer. Ask for less, or lower --round-to."
        )
