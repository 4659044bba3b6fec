"""What a pruning will remove, decided beforehand: blocks, then how wide each group stays.

A residual block adds to its input, so that a network without it passes that input on.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta
from torch import nn

from nstc.compress.pruning import schedules
from nstc.compress.pruning.channels import Scores, Widths, channel_groups, narrowed
from nstc.compress.pruning.probe import PruningProbe
from nstc.core import decoding, errors, files
from nstc.core.recipe.recipes import AUTO, PruneRecipe
from nstc.core.recipe.settings import parse_latency, parse_macs
from nstc.models import architectures

DEFAULT_RATIO: Final = 0.25

_MULTIPLES: Final = (4, 8, 16, 32)  # of channels, that `--round-to auto` tries
# What a block's weights begin with, and the number of the first block, by architecture.
_BLOCKS: Final = {
    "student": ("blocks.", 0),
    "two-scale-student": ("blocks.", 0),
    "transformer": ("res", 1),
}
_OF_EACH_BLOCK: Final = ("inner", "dilations")  # arguments with one value for each block


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """What to remove."""

    dropped: tuple[decoding.Count, ...]  # positions of the residual blocks that go, in that order
    round_to: Annotated[int, Meta(ge=1, le=4096)]  # what widths are multiples of
    widths: Widths  # channels left of each group, of the network without those blocks
    # Times in milliseconds and the like, for the model's history.
    findings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, path: Path, identity: str) -> None:
        """Keep it beside the checkpoints: times measured again would give another."""
        content = {"identity": identity, **dataclasses.asdict(self)}
        files.write_text(path, json.dumps(content))

    @staticmethod
    def read(path: Path, identity: str) -> "PruningPlan | None":
        """The plan that `write` wrote for the same identity, if it did."""
        try:
            content = decoding.parse_json(decoding.read_file(path))
            if not isinstance(content, dict) or content.pop("identity", None) != identity:
                return None
            return decoding.decode(content, PruningPlan)
        except (OSError, decoding.DecodingError):
            return None  # there is none, or it was edited by hand: it is made anew


def make_plan(network: nn.Module, recipe: PruneRecipe, probe: PruningProbe) -> PruningPlan:
    """Decide what to remove; `OptionError` if that is nothing, or a goal can't be reached."""
    blocks, planner = Blocks(network, probe), _Planner(network, recipe, probe)
    if recipe.drop_blocks == AUTO:
        blocks.drop_while_cheap(planner.final_macs(), planner.multiple)
    else:
        blocks.drop(int(recipe.drop_blocks))
    if blocks.dropped:
        planner = _Planner(blocks.network, recipe, probe)
    return planner.plan(tuple(blocks.dropped))


def without_block(network: nn.Module, block: int) -> nn.Module:
    """The same network, built anew, without its residual block at a position, 0 for the first."""
    architecture, _ = architectures.describe(network)
    arguments = dict(architecture.arguments)
    for name in arguments.keys() & set(_OF_EACH_BLOCK):
        values = arguments[name]
        arguments[name] = [*values[:block], *values[block + 1 :]]
    fewer = architectures.build(dataclasses.replace(architecture, arguments=arguments))
    prefix, first = _BLOCKS[architecture.name]
    own = re.compile(rf"^{re.escape(prefix)}(\d+)(?=\.)")
    weights = network.state_dict()

    def in_whole(found: re.Match[str]) -> str:  # a block behind the dropped one counts one more
        return f"{prefix}{int(found[1]) + (int(found[1]) - first >= block)}"

    fewer.load_state_dict({n: weights[own.sub(in_whole, n)] for n in fewer.state_dict()})
    return fewer.train(network.training)


class Blocks:
    """A network that loses residual blocks one by one."""

    def __init__(self, network: nn.Module, probe: PruningProbe) -> None:
        self.network = network  # what is left of it
        self.dropped: list[int] = []  # positions of the gone in the whole network, in that order
        self._left = list(range(len(architectures.describe(network)[0].arguments["inner"])))
        self._probe = probe

    def drop(self, count: int) -> None:
        """Drop as many, each time the least sensitive one; `OptionError` if none would be left."""
        if count >= len(self._left):
            raise errors.OptionError(
                f"drop-blocks is {count}: the network has {len(self._left)} residual blocks, and "
                "one at least stays. Give a smaller number."
            )
        for _ in range(count):
            self._drop_cheapest()

    def drop_while_cheap(self, goal: int, round_to: int) -> None:
        """Drop blocks as long as removing channels of as much work would change the output more.

        Both without fine-tuning. Nothing is dropped that would leave less work than is asked for:
        `goal` multiply-accumulates, with widths in multiples of `round_to`.
        """

        def is_cheap(distance: float, fewer: nn.Module) -> bool:
            macs = architectures.count_macs(fewer)
            return macs >= goal and distance <= self._distance_by_channels(macs, round_to)

        while len(self._left) > 1 and self._drop_cheapest(is_cheap):
            pass

    def _drop_cheapest(self, allowed: Callable[[float, nn.Module], bool] | None = None) -> bool:
        """Drop the block that changes the output least, if that is allowed; whether it was."""
        progress, trials = self._probe.progress, []
        progress.begin("drop each block alone", len(self._left), 0)
        for block in range(len(self._left)):
            fewer = without_block(self.network, block)
            trials.append((self._probe.sensitivity(fewer).distance, block, fewer))
            progress.advance(block + 1, {})
        distance, block, fewer = min(trials, key=lambda trial: trial[:2])
        if allowed is not None and not allowed(distance, fewer):
            return False
        self.network = fewer
        self.dropped.append(self._left.pop(block))
        progress.note(
            f"block {self.dropped[-1] + 1} is dropped, its sensitivity is {distance:.2g} "
            "before fine-tuning"
        )
        return True

    def _distance_by_channels(self, macs: int, round_to: int) -> float:
        groups = channel_groups(self.network)
        schedule = schedules.uniform(groups, round_to)
        count = schedules.width_costs(self.network, groups)
        share = schedules.share_within(schedule, count, macs)
        if share is None or schedule(share) == schedules.full_widths(groups):
            return float("inf")
        scores = self._probe.scores(self.network)
        return self._probe.sensitivity(narrowed(self.network, scores, schedule(share))).distance


class _Planner:
    """Decides on the widths of one network, which may have lost blocks already."""

    def __init__(self, network: nn.Module, recipe: PruneRecipe, probe: PruningProbe) -> None:
        self._network, self._recipe, self._probe = network, recipe, probe
        self._latency = recipe.target_latency and parse_latency(recipe.target_latency)
        self._ratio = recipe.ratio or DEFAULT_RATIO
        # Multiply-accumulates to reach; None if none were given.
        self._goal = None if recipe.target_macs is None else parse_macs(recipe.target_macs)
        if recipe.speedup is not None:
            self._goal = int(architectures.count_macs(probe.network) / recipe.speedup)
        self._groups = channel_groups(network)
        self._macs = schedules.width_costs(network, self._groups)
        self._full = schedules.full_widths(self._groups)
        # Of channels, where nothing is measured.
        self.multiple = 8 if recipe.round_to == AUTO else int(recipe.round_to)

    def plan(self, dropped: tuple[int, ...]) -> PruningPlan:
        """The widths for the goal that was given; `OptionError` if nothing would be removed."""
        recipe, round_to = self._recipe, self.multiple
        findings: dict[str, Any] = {}
        narrows = recipe.ratio is not None or self._goal is not None or self._latency
        if dropped and recipe.drop_blocks != AUTO and not narrows:
            return PruningPlan(dropped=dropped, round_to=round_to, widths=self._full)
        scores = self._probe.scores(self._network)
        with contextlib.ExitStack() as stack:
            if self._latency or recipe.round_to == AUTO:
                target = self._latency.target if self._latency else "cpu:1"
                watch = stack.enter_context(self._probe.timing(self._network, target))

            def measure(widths: Widths) -> float:
                return watch.ms(narrowed(self._network, scores, widths))

            if recipe.round_to == AUTO:
                round_to, findings = self._round_to(measure)
            schedule = self._schedule(scores, round_to)
            if self._latency:
                progress, goal_ms = self._probe.progress, self._latency.ms
                widths, ms = schedules.widest_in_time(
                    schedule, self._groups, measure, goal_ms, round_to=round_to, progress=progress
                )
                findings |= {
                    "latency_target": self._latency.target,
                    "latency_ms_before": round(watch.whole_ms, 4),
                    "latency_ms": round(ms, 4),
                }
            else:
                widths = self._widths(schedule, round_to)
        if dropped or widths != self._full:
            return PruningPlan(dropped=dropped, round_to=round_to, widths=widths, findings=findings)
        if self._latency:
            raise errors.OptionError(
                f"nothing is removed: the network takes {findings['latency_ms']:.3g} ms on "
                f"{self._latency.target}, less than {self._latency.ms:g} ms. Ask for less time."
            )
        what = f"at ratio {self._ratio:.2f}" if self._goal is None else "for this goal"
        raise errors.OptionError(
            f"nothing is removed {what} with widths in multiples of {round_to}: "
            "ask for more, or lower --round-to."
        )

    def final_macs(self) -> int:
        """About how many multiply-accumulates the pruned network will have."""
        if self._goal is not None:
            return self._goal
        if self._latency:
            with self._probe.timing(self._network, self._latency.target) as watch:
                part = min(1.0, self._latency.ms / watch.whole_ms)
            return int(architectures.count_macs(self._network) * part)
        return self._macs(schedules.uniform(self._groups, self.multiple)(self._ratio))

    def _round_to(self, measure: Callable[[Widths], float]) -> tuple[int, dict[str, Any]]:
        """What widths are to be multiples of, and what was measured to find out."""
        measured: dict[str, float] = {}

        def time_per_work(multiple: int) -> float | None:
            schedule = schedules.uniform(self._groups, multiple)
            share = self._share(schedule)
            widths = schedule(DEFAULT_RATIO if share is None else share)
            if widths == self._full:
                return None
            per_mac = measure(widths) / self._macs(widths)
            per_gmac = measured[str(multiple)] = round(per_mac * 1e9, 4)
            self._probe.progress.note(f"multiples of {multiple}: {per_gmac:.3g} ms a GMAC")
            return per_gmac

        best = schedules.fastest_multiple(_MULTIPLES, time_per_work)
        return best, {"round_to": best, "ms_per_gmac": measured}

    def _schedule(self, scores: Scores, round_to: int) -> schedules.WidthSchedule:
        if self._recipe.distribution == "uniform":
            return schedules.uniform(self._groups, round_to)
        if self._recipe.distribution == "global":
            return schedules.by_score(self._groups, scores, round_to)
        found = self._probe.halving_sensitivity(self._network, scores)
        distances = {name: own.distance for name, own in found.items()}
        full, whole = self._full, self._macs(self._full)
        saved = {name: whole - self._macs({**full, name: w / 2}) for name, w in full.items()}
        return schedules.by_sensitivity(self._groups, distances, saved, round_to)

    def _share(self, schedule: schedules.WidthSchedule) -> float | None:
        """The share of the channels that goes; None if the goal is out of reach."""
        if self._goal is None:
            return self._ratio
        if self._macs(self._full) <= self._goal:
            return 0.0
        return schedules.share_within(schedule, self._macs, self._goal)

    def _widths(self, schedule: schedules.WidthSchedule, round_to: int) -> Widths:
        """The widths for a ratio or a number of multiply-accumulates."""
        share = self._share(schedule)
        if share is None:
            narrowest = schedule(schedules.LARGEST_SHARE)
            whole, fewest = map(self._macs, (self._full, narrowest))
            what = f"target-macs {self._recipe.target_macs}"
            if self._recipe.speedup is not None:
                what = f"a speed-up of {self._recipe.speedup}"
            raise errors.OptionError(
                f"{what} can't be reached by removing channels from this network with widths in "
                f"multiples of {round_to}: the nearest reached is {fewest / 1e9:.3g} GMACs, "
                f"{whole / fewest:.3g} times fewer. Ask for less, or lower --round-to."
            )
        held = sum(group.width * (1 - share) < round_to < group.width for group in self._groups)
        if held and self._recipe.distribution == "uniform":
            self._probe.progress.note(
                f"{held} of {len(self._groups)} layers would be emptied: they keep {round_to} "
                "channels"
            )
        if self._goal is None:
            return schedule(share)
        return schedules.widest_within(schedule, share, self._macs, self._goal)
