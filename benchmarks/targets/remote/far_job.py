"""What is sent to a far machine: graphs, the picture as they take it, and how to time them."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import numpy as np

from nstc.benchmarks.targets.remote import far_side
from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.machine import INT8_INSTRUCTIONS
from nstc.core.graph_form import Layout
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.model_files import copy_model, data_files
from nstc.runtime.session import Session

SCRIPT: Final = "far_side.py"
JOB_FILE: Final = "job.json"


@dataclass(frozen=True, kw_only=True)
class FarGraph:
    """A file to be run on another machine, with all that must be known to read its output there."""

    path: Path  # the ONNX file
    feed: Array  # the picture as the graph takes it
    layout: Layout  # of its output
    low: Sequence[float]  # black, on the output's scale, for each channel
    high: Sequence[float]  # white
    is_bgr: bool  # whether blue is the output's first channel
    height: int  # of the picture in pixels; the output may be larger
    width: int  # likewise


@dataclass(frozen=True, kw_only=True)
class FarJob:
    """A measurement to be taken elsewhere."""

    graphs: tuple[FarGraph, ...]  # the reference, then the candidates
    # Who takes turns when: a permutation of the graphs' positions for each round.
    orders: tuple[tuple[int, ...], ...]
    threads: int  # to compute with
    time_limit_s: int  # after which the far side gives up by itself
    token: str  # begins each line of its answer; new for every job

    @property
    def turns(self) -> int:
        """How often the far side speaks.

        Once when all is open, and for each graph after its first runs, its turn in every round, and
        the look at its memory.
        """
        return 1 + len(self.graphs) * (2 + len(self.orders))

    def write(self, folder: Path) -> None:
        """Fill an empty folder: fixed names only, whatever the graphs' files are called."""
        copyfile(far_side.__file__, folder / SCRIPT)
        graphs: list[dict[str, Any]] = []
        for number, graph in enumerate(self.graphs):
            described = {**vars(graph), "feed": f"feed{number}.npy"}
            np.save(folder / described["feed"], graph.feed, allow_pickle=False)
            described["file"] = _copied(described.pop("path"), folder, number)
            graphs.append(described)
        content = {
            "token": self.token,
            "threads": self.threads,
            "time_limit_s": self.time_limit_s,
            "orders": self.orders,
            "pause_s": latency.PAUSE_S,
            "turn_ms": latency.TURN_MS,
            "most_repeats": latency.MOST_REPEATS,
            "max_warm_ups": latency.MAX_WARM_UPS,
            "steady": latency.STEADY,
            "int8_instructions": INT8_INSTRUCTIONS,
            "graphs": graphs,
        }
        (folder / JOB_FILE).write_text(json.dumps(content), encoding="ascii")


def make_job(
    sessions: Sequence[Session],
    picture: Pixels,
    recipe: BenchRecipe,
    *,
    threads: int,
    time_limit_s: int,
) -> FarJob:
    """A job in which every session's file takes turns on a picture (H, W, 3) uint8.

    Args:
        sessions: The reference, then the candidates, all of ONNX files.
        picture: That is fed.
        recipe: Gives the rounds and the seed of their orders, which are those that
            `nstc.benchmarks.timing.latency.alternate` would take.
        threads: To compute with.
        time_limit_s: See `FarJob`.

    Raises:
        OptionError: a graph takes one size only, and the picture has another.
    """
    rng = np.random.default_rng(recipe.seed)
    orders = [rng.permutation(len(sessions)).tolist() for _ in range(recipe.rounds)]
    return FarJob(
        graphs=tuple(_far_graph(session, picture) for session in sessions),
        orders=tuple(map(tuple, orders)),
        threads=threads,
        time_limit_s=time_limit_s,
        token=secrets.token_hex(8),
    )


def _copied(graph: Path, folder: Path, number: int) -> str:
    """Put a graph into a folder, or into one of its own there if its weights lie beside it."""
    if not data_files(graph):
        name = f"graph{number}.onnx"
        copyfile(graph, folder / name)
        return name
    own = folder / f"graph{number}"
    own.mkdir()
    return f"{own.name}/{copy_model(graph, own).name}"


def _far_graph(session: Session, picture: Pixels) -> FarGraph:
    height, width = picture.shape[:2]
    feed = session.prepare(picture)
    if isinstance(session, ForeignSession):
        low, high = (ends.tolist() for ends in session.contract.black_and_white)
        is_bgr = session.contract.channels == "bgr"
        layout: Layout = session.contract.output_layout
        values = feed.values
    else:
        (values,) = feed.values()
        low, high, is_bgr = [0.0], [1.0], False
        layout = "NHWC" if values.dtype == np.uint8 else "NCHW"
    return FarGraph(
        path=session.path,
        feed=values,
        layout=layout,
        low=low,
        high=high,
        is_bgr=is_bgr,
        height=height,
        width=width,
    )
