"""What the page is asked to do, and the files that it needs for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.benchmarks.targets.web.setup import DATA, WebRuntime
from nstc.benchmarks.timing.latency import MAX_WARM_UPS, MOST_REPEATS, PAUSE_S, STEADY, TURN_MS
from nstc.core.errors import OptionError, TargetError, UnusableModelError
from nstc.core.images import Pixels
from nstc.runtime.agreement import MOST_FAR_SHARE, NEAR_LEVELS, Difference
from nstc.runtime.arrays import Array, refuse_not_finite_output
from nstc.runtime.foreign.networks import ForeignSession, Framed
from nstc.runtime.model_files import data_files
from nstc.runtime.session import Session

Content = bytes | Path
"""Of a served file: its bytes, or where they are."""

_OWN_FILES: Final = ("page.mjs", "page.css", "rounds.mjs")
_DTYPES: Final = ("uint8", "float32")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A file to run on a picture, and what ONNX Runtime on this machine made of it."""

    session: Session  # the file, opened here
    input_name: str  # of the graph
    output_name: str | None  # of the graph; None for its first
    values: Array  # the input
    raw: Array  # the output here
    frame: Framed | None  # how a foreign file's picture lies in the output, else None

    def picture(self, raw: Array) -> Pixels:
        """An output as the picture (H, W, 3) uint8 that it stands for."""
        if self.frame is None:
            return self.session.finish(raw)
        return self.session.finish(Framed(raw, self.frame.height, self.frame.width))


def ask(session: Session, picture: Pixels) -> Asked:
    """Run a file here on a picture (H, W, 3) uint8.

    Raises:
        OptionError: it takes something that the page can't make.
        NstcError: it does not run here.
    """
    feed = session.prepare(picture)
    raw = session.infer(feed)
    frame = output_name = None
    if isinstance(session, ForeignSession):
        input_name, output_name = session.contract.input_name, session.contract.output_name
        values, frame, raw = feed.values, feed, raw.values
    else:
        ((input_name, values),) = feed.items()
    if values.dtype.name not in _DTYPES or raw.dtype.name not in _DTYPES:
        raise OptionError(
            f"{session.path} takes {values.dtype} and gives {raw.dtype}: in a browser nstc runs "
            f"graphs of {' and '.join(_DTYPES)}."
        )
    return Asked(
        session=session,
        input_name=input_name,
        output_name=output_name,
        values=values,
        raw=raw,
        frame=frame,
    )


def refuse_other_picture(asked: Asked, output: bytes, where: str) -> int:
    """Hold a file's picture to the one that was made here: a fast wrong picture is no result.

    Args:
        asked: The file, with its output here.
        output: The raw bytes that came.
        where: The name of the place.

    Returns:
        The largest difference between the two pictures, in levels from 0 to 255.

    Raises:
        TargetError: it is another picture.
    """
    raw = np.frombuffer(output, asked.raw.dtype).reshape(asked.raw.shape)
    try:
        refuse_not_finite_output(raw, asked.session.path)
    except UnusableModelError as error:  # here it gave a picture: it is the place that does not
        raise TargetError(f"{asked.session.path} gives no finite numbers in {where}.") from error
    off = Difference.between(asked.picture(raw), asked.picture(asked.raw))
    if off.far_share > MOST_FAR_SHARE:
        raise TargetError(
            f"{asked.session.path} gives another picture in {where} than in ONNX Runtime here: "
            f"{off.far_share:.1%} of its values are more than {NEAR_LEVELS}/255 off, the worst by "
            f"{off.worst}; at most {MOST_FAR_SHARE:.1%} may be. Its times are no result."
        )
    return off.worst


def site_of(
    asked: Sequence[Asked], runtime: WebRuntime, *, threads: int | None, rounds: int, seed: int
) -> Mapping[str, Content]:
    """Everything that is served, by exact name; "" is the page.

    Args:
        asked: The reference and the candidates.
        runtime: Where onnxruntime-web is.
        threads: None for as many as onnxruntime-web itself would take.
        rounds: Timed rounds.
        seed: Of the orders within them.
    """
    rng = np.random.default_rng(seed)
    job = {
        "threads": threads,
        "pauseMs": PAUSE_S * 1000,
        "turnMs": TURN_MS,
        "mostRepeats": MOST_REPEATS,
        "maxWarmUps": MAX_WARM_UPS,
        "steady": STEADY,
        "orders": [rng.permutation(len(asked)).tolist() for _ in range(rounds)],
        "files": [
            {
                "model": f"model/{i}",
                "feed": f"feed/{i}",
                "input": own.input_name,
                "output": own.output_name,
                "dtype": own.values.dtype.name,
                "shape": own.values.shape,
                "weights": [
                    {"path": file.name, "file": f"weights/{i}/{k}"}
                    for k, file in enumerate(data_files(own.session.path))
                ],
            }
            for i, own in enumerate(asked)
        ],
    }
    site: dict[str, Content] = {"": DATA / "page.html", "job.json": json.dumps(job).encode()}
    site |= {name: DATA / name for name in _OWN_FILES}
    site |= {path.name: path for path in runtime.page_files}
    for i, own in enumerate(asked):
        site[f"model/{i}"] = own.session.path
        for k, file in enumerate(data_files(own.session.path)):
            site[f"weights/{i}/{k}"] = file
        site[f"feed/{i}"] = np.ascontiguousarray(own.values).tobytes()
    return site
