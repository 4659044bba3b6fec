"""What a pruning will remove, decided beforehand: blocks, then how wide each group stays.

A residual block adds to its input, and without it that goes on.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta
from torch import nn

from nstc.compress.pruning.channels import Scores, Widths, channel_groups, narrowed
from nstc.compress.pruning.survey import Survey
from nstc.compress.pruning.widths import (
    Ladder,
    WidthCosts,
    by_score,
    by_sensitivity,
    fastest_multiple,
    full_widths,
    share_within,
    uniform,
    widest_in_time,
    widest_within,
)
from nstc.core.decoding import Count, DecodingError, decode, parse_json, read_file
from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.recipe.recipes import AUTO, PruneRecipe
from nstc.core.recipe.settings import parse_latency, parse_macs
from nstc.models.architectures import build, describe
from nstc.models.complexity import count_macs

DEFAULT_RATIO: Final = 0.25

_DEFAULT_TARGET: Final = "cpu:1"
_MULTIPLES: Final = (4, 8, 16, 32)  # of channels, that `--round-to auto` tries
# What a block's weights begin with, and the number of the first block, by architecture.
_BLOCKS: Final = {"student": ("blocks.", 0), "transformer": ("res", 1)}


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
            draft.write_text(
                json.dumps({"identity": identity, **dataclasses.asdict(self)}), encoding="utf-8"
            )

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


def block_count(network: nn.Module) -> int:
    """How many residual blocks a network has."""
    return len(describe(network)[0].arguments["inner"])


def without_block(network: nn.Module, block: int) -> nn.Module:
    """The same network, built anew, without its residual block at a position, 0 for the first."""
    architecture, _ = describe(network)
    inner = list(architecture.arguments["inner"])
    del inner[block]
    arguments = {**architecture.arguments, "inner": inner}
    fewer = build(dataclasses.replace(architecture, arguments=arguments))
    prefix, first = _BLOCKS[architecture.name]
    weights = {}
    for name, value in network.state_dict().items():
        found = re.fullmatch(rf"{re.escape(prefix)}(\d+)(\..+)", name)
        if found is None:
            weights[name] = value
        elif (position := int(found[1]) - first) != block:
            number = first + position - (position > block)
            weights[f"{prefix}{number}{found[2]}"] = value
    fewer.load_state_dict(weights)
    return fewer.train(network.training)


class Blocks:
    """A network on its way to fewer residual blocks.

    Attributes:
        network: What is left of it.
        dropped: Positions in the whole network of the blocks that are gone, in that order.
    """

    def __init__(self, network: nn.Module, survey: Survey) -> None:
        self.network = network
        self.dropped: list[int] = []
        self._left = list(range(block_count(network)))
        self._survey = survey

    def drop(self, count: int) -> None:
        """Drop as many, each time the one that does least damage; `OptionError` if none is left."""
        if count >= len(self._left):
            raise OptionError(
                f"drop-blocks is {count}: the network has {len(self._left)} residual blocks, and "
                "one at least stays. Give a smaller number."
            )
        for _ in range(count):
            self._take(*self._cheapest())

    def drop_while_cheap(self, goal: int, round_to: int) -> None:
        """Drop blocks as long as channels of as much work would do more damage.

        Both without fine-tuning. Nothing is dropped that would leave less work than is asked for:
        `goal` multiply-accumulates, with widths in multiples of `round_to`.
        """
        while len(self._left) > 1:
            distance, block, network = self._cheapest()
            macs = count_macs(network)
            if macs < goal or distance > self._damage_of_channels(macs, round_to):
                return
            self._take(distance, block, network)

    def _cheapest(self) -> tuple[float, int, nn.Module]:
        """Damage, position and what is left, of the block that is missed least."""
        self._survey.progress.begin("drop each block alone", len(self._left), 0)
        trials = []
        for block in range(len(self._left)):
            fewer = without_block(self.network, block)
            trials.append((self._survey.meter(fewer).distance, block, fewer))
            self._survey.progress.advance(block + 1, {})
        return min(trials, key=lambda trial: trial[:2])

    def _take(self, distance: float, block: int, network: nn.Module) -> None:
        self.network = network
        self.dropped.append(self._left.pop(block))
        self._survey.progress.note(
            f"block {self.dropped[-1] + 1} is dropped, its damage is {distance:.2g} "
            "before fine-tuning"
        )

    def _damage_of_channels(self, macs: int, round_to: int) -> float:
        groups = channel_groups(self.network)
        ladder = uniform(groups, round_to)
        costs = WidthCosts(self.network, groups)
        share = share_within(ladder, costs.macs, macs)
        if share is None or ladder(share) == full_widths(groups):
            return float("inf")
        scores = self._survey.scores(self.network)
        return self._survey.meter(narrowed(self.network, scores, ladder(share))).distance


class _Planner:
    """Decides on the widths of one network, which may have lost blocks already."""

    def __init__(self, network: nn.Module, recipe: PruneRecipe, survey: Survey) -> None:
        self._network, self._recipe, self._survey = network, recipe, survey
        self._latency = recipe.target_latency and parse_latency(recipe.target_latency)
        self._ratio = recipe.ratio or DEFAULT_RATIO
        # Multiply-accumulates to reach; None if none were given.
        self._goal = None if recipe.target_macs is None else parse_macs(recipe.target_macs)
        if recipe.speedup is not None:
            self._goal = int(count_macs(survey.network) / recipe.speedup)
        self._groups = channel_groups(network)
        self._costs = WidthCosts(network, self._groups)
        self.full = full_widths(self._groups)
        # Of channels, where nothing is measured.
        self.multiple = 8 if recipe.round_to == AUTO else int(recipe.round_to)

    def plan(self, dropped: tuple[int, ...]) -> PruningPlan:
        """The widths for the goal that was given."""
        recipe, groups = self._recipe, self._groups
        narrows = recipe.ratio is not None or self._goal is not None or self._latency
        if dropped and recipe.drop_blocks != AUTO and not narrows:
            return PruningPlan(dropped=dropped, round_to=self.multiple, widths=self.full)
        scores = self._survey.scores(self._network)
        round_to = self.multiple
        findings: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            if self._latency or recipe.round_to == AUTO:
                target = self._latency.target if self._latency else _DEFAULT_TARGET
                watch = stack.enter_context(self._survey.timing(self._network, target))

            def measure(widths: Widths) -> float:
                return watch.ms(narrowed(self._network, scores, widths))

            if recipe.round_to == AUTO:
                round_to, findings = self._round_to(measure)
            ladder = self._ladder(scores, round_to)
            if self._latency:
                progress, goal_ms = self._survey.progress, self._latency.ms
                widths, ms = widest_in_time(
                    ladder, groups, measure, goal_ms, round_to=round_to, progress=progress
                )
                findings |= {
                    "latency_target": self._latency.target,
                    "latency_ms_before": round(watch.whole_ms, 4),
                    "latency_ms": round(ms, 4),
                }
                return PruningPlan(
                    dropped=dropped, round_to=round_to, widths=widths, findings=findings
                )
        share = self._share(ladder, round_to)
        widths = ladder(share)
        if self._goal is not None:
            widths = widest_within(ladder, share, self._costs.macs, self._goal)
        held = sum(group.width * (1 - share) < round_to < group.width for group in groups)
        if held and recipe.distribution == "uniform":
            self._survey.progress.note(
                f"{held} of {len(groups)} layers would be emptied: they keep {round_to} channels"
            )
        return PruningPlan(dropped=dropped, round_to=round_to, widths=widths, findings=findings)

    def work_in_the_end(self) -> int:
        """About how many multiply-accumulates the pruned network will have."""
        if self._goal is not None:
            return self._goal
        if self._latency:
            with self._survey.timing(self._network, self._latency.target) as watch:
                part = min(1.0, self._latency.ms / watch.whole_ms)
            return int(count_macs(self._network) * part)
        return self._costs.macs(uniform(self._groups, self.multiple)(self._ratio))

    def nothing_to_do(self, plan: PruningPlan) -> str:
        """Why nothing would be removed."""
        if self._latency:
            return (
                f"nothing is removed: the network takes {plan.findings['latency_ms']:.3g} ms on "
                f"{self._latency.target}, less than {self._latency.ms:g} ms. Ask for less time."
            )
        what = f"at ratio {self._ratio:.2f}" if self._goal is None else "for this goal"
        return (
            f"nothing is removed {what} with widths in multiples of {plan.round_to}: "
            "ask for more, or lower --round-to."
        )

    def _round_to(self, measure: Callable[[Widths], float]) -> tuple[int, dict[str, Any]]:
        """What widths are to be multiples of, and what was measured to find out."""
        measured: dict[str, float] = {}

        def time_per_work(multiple: int) -> float | None:
            ladder = uniform(self._groups, multiple)
            widths = ladder(self._share(ladder, multiple, loosely=True))
            if widths == self.full:
                return None
            per_mac = measure(widths) / self._costs.macs(widths)
            per_gmac = measured[str(multiple)] = round(per_mac * 1e9, 4)
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
        """The share of the channels that goes; the default one if the goal is a time.

        Where the goal is out of reach it is an `OptionError`, or loosely the default share too.
        """
        whole = self._costs.macs(self.full)
        if self._goal is None:
            return self._ratio
        if whole <= self._goal:
            return 0.0
        share = share_within(ladder, self._costs.macs, self._goal)
        if share is not None:
            return share
        if loosely:
            return DEFAULT_RATIO
        fewest = self._costs.macs(ladder(1.0 - 1e-9))
        what = f"target-macs {self._recipe.target_macs}"
        if self._recipe.speedup is not None:
            what = f"a speed-up of {self._recipe.speedup}"
        raise OptionError(
            f"{what} can't be reached by removing channels from this network with widths in "
            f"multiples of {round_to}: the nearest reached is {fewest / 1e9:.3g} GMACs, "
            f"{whole / fewest:.3g} times fewer. Ask for less, or lower --round-to."
        )
