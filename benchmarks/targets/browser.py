"""onnxruntime-web in WebAssembly: in Node, in headless Chromium, and in any browser by a link."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets import base
from nstc.benchmarks.targets.base import Measurement, RowFacts, Target, TargetKind
from nstc.benchmarks.targets.web import setup
from nstc.benchmarks.targets.web.exchange import FOLDER, Exchange, Timeouts
from nstc.benchmarks.timing import latency, machine
from nstc.core import Progress, bundle, extras, zoo
from nstc.core.errors import OptionError, ServeError, TargetError, UnusableModelError
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime import arrays, model_files
from nstc.runtime.foreign.networks import ForeignSession, Framed
from nstc.runtime.serving import certificates, network, web_runtime
from nstc.runtime.serving.site import Content, bench_content
from nstc.runtime.serving.web_runtime import WebRuntime
from nstc.runtime.session import Session

# The deployed graph and the float one; others run if they are asked for by name.
_FILES: Final = (bundle.artifact_name("int8"), FLOAT)
_WEB: Final = re.compile(r"^web(?=(?::[0-9]*)?$)")

# For pictures of `_SILENCE_SIDE`; larger ones have more time.
_HERE: Final = Timeouts(opening_s=60, silence_s=120)
_ELSEWHERE: Final = Timeouts(opening_s=600, silence_s=120)
_SILENCE_SIDE: Final = 512

_DTYPES: Final = ("uint8", "float32")


@dataclass(frozen=True, kw_only=True)
class WebTarget(base.FloatReference):
    """A place that runs JavaScript; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as in results and after `--target`: web:node:1, web:open
    threads: int | None  # to compute with; None leaves it to onnxruntime-web
    engine: setup.Engine | None  # what opens the link; None if a user does, on any device
    https: bool = False  # whether the page has a certificate, which threads elsewhere need
    timeouts: Timeouts = _HERE
    draws_on: ClassVar[str] = base.PROCESSOR
    reports_memory: ClassVar[bool] = False

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """The int8 file and the float one, as far as the model has them."""
        held = subject.artifacts(size)
        return tuple(name for name in _FILES if name in held) or (FLOAT,)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on all cores of this machine, whose pictures the page must reproduce."""
        session = base.open_here(subject, artifact, probe)
        if session.path.suffix.lower() != ".onnx":
            raise OptionError(f"{self.name} runs ONNX files, and {session.path.name} is not one.")
        return session

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Serve the files and a page that alternates between them; check what comes back."""
        rounds, threads = recipe.rounds, self.threads
        asked = [ask(session, picture) for session in sessions]
        site = site_of(asked, web_runtime.web_runtime(), recipe, threads=threads)
        exchange = Exchange([own.raw.nbytes for own in asked], rounds=rounds, threads=threads)
        larger = max(1.0, (recipe.size / _SILENCE_SIDE) ** 2)
        timeouts = self.timeouts._replace(silence_s=self.timeouts.silence_s * larger)
        host = network.LOOPBACK if self.engine is not None else host_for_others()

        def steps(done: int) -> None:
            progress.advance(max(0, done - len(asked)) // len(asked), {})

        with self._opened(site, exchange, host, progress) as ended:
            progress.begin(f"latency, {self.name}", rounds, 0)
            answer = exchange.wait(timeouts, ended=ended, steps=steps)
            progress.advance(rounds, {})
        differences = [
            refuse_other_picture(own, output, self.name)
            for own, output in zip(asked, answer.outputs, strict=True)
        ]
        first, *others = answer.samples_ms
        here = answer.address in {host, network.LOOPBACK}
        return Measurement(
            timings=latency.Timings(reference_ms=first, candidates_ms=tuple(others)),
            place={
                "provider": "wasm",
                "runtime": f"onnxruntime-web {web_runtime.runtime_version()}",
                "browser": answer.visitor.agent,
                "threads": answer.visitor.threads,
                "secure_context": answer.visitor.secure,
                "device": machine.THIS_MACHINE if here else "another device",
                "address": answer.address,
                "clock_step_ms": answer.visitor.clock_step_ms,
                "largest_difference": max(differences),
            },
            rows=tuple(RowFacts() for _ in sessions[1:]),
        )

    @contextlib.contextmanager
    def _opened(
        self, site: Mapping[str, Content], exchange: Exchange, host: str, progress: Progress
    ) -> Iterator[Callable[[], str | None]]:
        """Serve, and open the link or print it; yields what says why the engine has ended."""
        from nstc.benchmarks.targets.web.exchange_server import serving_run

        with serving_run(site, exchange, host=host, https=self.https) as served:
            if self.engine is not None:
                with self.engine(web_runtime.web_runtime(), served.link) as ended:
                    yield ended
                return
            progress.note(
                f"Open within {self.timeouts.opening_s / 60:.0f} minutes on a device in the same "
                f"network, and keep it in front:\n\n  {served.link}\n\nThis machine serves it on "
                f"its network address {host} until the run is over, to whoever opens the link "
                "first."
            )
            progress.show_link(served.link)
            if served.certificate is None:
                progress.note("Over plain http a browser has one thread; --https gives it more.")
            else:
                progress.note(served.certificate.warning)
            yield lambda: None


def host_for_others() -> str:
    """This machine's address in the network that phones share; `TargetError` if it is in none."""
    try:
        return network.network_address()
    except ServeError as error:
        raise TargetError(str(error)) from error


@dataclass(frozen=True)
class Asked:
    """A file to run on a picture, and its output from ONNX Runtime on this machine."""

    title: str  # for people: zoo:udnie int8.onnx
    path: Path  # of the ONNX file
    input_name: str  # of the graph
    output_name: str | None  # of the graph; None for its first
    values: arrays.Array  # the input
    raw: arrays.Array  # the output here
    picture: Callable[[arrays.Array], Pixels]  # an output as a picture (H, W, 3) uint8


def ask(session: Session, picture: Pixels) -> Asked:
    """Run a file here on a picture (H, W, 3) uint8; raises also what its session raises.

    `OptionError` if it takes numbers that the page can't make, or more than a picture.
    """
    base.refuse_other_inputs(session)
    feed = session.prepare(picture)
    raw, path = session.infer(feed), session.path
    frame = output_name = None
    if isinstance(session, ForeignSession):
        input_name, output_name = session.contract.input_name, session.contract.output_name
        values, frame, raw = feed.values, feed, raw.values
    else:
        ((input_name, values),) = feed.items()
    if values.dtype.name not in _DTYPES or raw.dtype.name not in _DTYPES:
        raise OptionError(
            f"{path} takes {values.dtype} and gives {raw.dtype}: in a browser nstc runs graphs of "
            f"{' and '.join(_DTYPES)}."
        )

    def finish(own: arrays.Array) -> Pixels:
        return session.finish(own if frame is None else Framed(own, frame.height, frame.width))

    folder = path.parent
    title = f"{zoo.zoo_name_of(folder) or folder.name[:20]} {session.artifact}"
    return Asked(title, path, input_name, output_name, values, raw, finish)


def refuse_other_picture(asked: Asked, output: bytes, where: str) -> int:
    """Levels of 255 that an output from `where` is off at most; `TargetError` if it is too far."""
    raw = np.frombuffer(output, asked.raw.dtype).reshape(asked.raw.shape)
    try:
        arrays.refuse_not_finite_output(raw, asked.path)
    except UnusableModelError as error:  # here it gave a picture, so the place is at fault
        raise TargetError(f"{asked.path} gives no finite numbers in {where}.") from error
    off = arrays.Difference.between(asked.picture(raw), asked.picture(asked.raw))
    if off.far_share > arrays.MOST_FAR_SHARE:
        raise TargetError(
            f"{asked.path} gives another picture in {where} than in ONNX Runtime here: "
            f"{off.far_share:.1%} of its values are more than {arrays.NEAR_LEVELS}/255 off, the "
            f"worst by {off.worst}; at most {arrays.MOST_FAR_SHARE:.1%} may be. Its times are "
            "not used."
        )
    return off.worst


def site_of(
    asked: Sequence[Asked],
    runtime: WebRuntime,
    recipe: BenchRecipe,
    *,
    threads: int | None,
) -> Mapping[str, Content]:
    """Everything that is served, by exact name.

    The reference and the candidates run on so many threads, None for as many as onnxruntime-web
    uses by default.
    """
    site = {**bench_content(runtime)}
    files = []
    for i, own in enumerate(asked):
        site[f"{FOLDER}model/{i}"] = own.path
        site[f"{FOLDER}feed/{i}"] = np.ascontiguousarray(own.values).tobytes()
        weights = []
        for k, path in enumerate(model_files.data_files(own.path)):
            weights.append({"path": path.name, "file": f"weights/{i}/{k}"})
            site[f"{FOLDER}weights/{i}/{k}"] = path
        file = {
            "name": own.title if i else "the reference",
            "model": f"model/{i}",
            "feed": f"feed/{i}",
            "input": own.input_name,
            "output": own.output_name,
            "dtype": own.values.dtype.name,
            "shape": own.values.shape,
            "weights": weights,
        }
        files.append(file)
    job = {
        "threads": threads,
        "pauseMs": latency.PAUSE_S * 1000,
        "turnMs": latency.TURN_MS,
        "fewestRepeats": latency.FEWEST_REPEATS,
        "mostRepeats": latency.MOST_REPEATS,
        "maxWarmUps": latency.MAX_WARM_UPS,
        "steady": latency.STEADY,
        "orders": latency.turn_orders(len(asked), recipe.rounds, seed=recipe.seed),
        "files": files,
    }
    return site | {f"{FOLDER}job.json": json.dumps(job).encode()}


def _local(engine_name: str, argument: str | None) -> WebTarget:
    """On this machine; one thread by default, because most phones' browsers have no more."""
    name = f"web:{engine_name}"
    threads = len(base.chosen_cores(name, "1" if argument is None else argument))
    engine = setup.in_node if engine_name == "node" else setup.in_chromium
    return WebTarget(name=f"{name}:{threads}", threads=threads, engine=engine)


def _elsewhere(name: str, argument: str | None) -> WebTarget:
    threads = None if argument is None else base.parse_threads(name, argument)
    return WebTarget(
        name=name if threads is None else f"{name}:{threads}",
        threads=threads,
        engine=None,
        https=name == HTTPS_NAME,
        timeouts=_ELSEWHERE,
    )


def missing_page() -> str | None:
    """None if a page with onnxruntime-web can be served, or what is missing and how to get it."""
    needs = extras.needs_of_extra("serve")
    return web_runtime.missing_runtime() if needs is None else f"its server needs {needs}"


def _unless(missing: Callable[[], str | None]) -> Callable[[], str | None]:
    """Why it can't run: there is no page, or what `missing` says."""
    return lambda: missing_page() or missing()


OPEN_NAME: Final = "web:open"
HTTPS_NAME: Final = "web:open-https"
KINDS: Final[Mapping[str, TargetKind]] = {
    "web": TargetKind(
        form="web[:N]",
        summary="web:chromium, or web:node where there is no Chromium",
        make=lambda own: _local("node" if setup.missing_chromium() else "chromium", own),
        availability=_unless(setup.missing_node),
    ),
    "web:node": TargetKind(
        form="web:node[:N]",
        summary="onnxruntime-web's WebAssembly in Node on this machine, N threads; 1 without N",
        make=partial(_local, "node"),
        availability=_unless(setup.missing_node),
    ),
    "web:chromium": TargetKind(
        form="web:chromium[:N]",
        summary="the same in a headless Chromium",
        make=partial(_local, "chromium"),
        availability=_unless(setup.missing_chromium),
    ),
    OPEN_NAME: TargetKind(
        form=f"{OPEN_NAME}[:N]",
        summary="the same in the browser of a phone that opens a link; web with --open",
        make=partial(_elsewhere, OPEN_NAME),
        availability=missing_page,
    ),
    HTTPS_NAME: TargetKind(
        form=f"{HTTPS_NAME}[:N]",
        summary="the same over https, which threads need there; web with --open --https",
        make=partial(_elsewhere, HTTPS_NAME),
        availability=_unless(certificates.missing_openssl),
    ),
}


def opened_elsewhere(targets: Sequence[str], *, page: bool, https: bool) -> tuple[str, ...]:
    """The targets' names; `--open` replaces web by the page that another device opens.

    `OptionError` for --open without web, or --https without --open.
    """
    if https and not page:
        raise OptionError("--https says how --open serves its page: give --open too.")
    if not page:
        return tuple(targets)
    served = HTTPS_NAME if https else OPEN_NAME
    replaced = [_WEB.sub(served, name) for name in targets]
    if replaced == list(targets):
        raise OptionError("--open serves the page of --target web: give --target web too.")
    return tuple(replaced)


def refuse_baseline_of_another_device(targets: Sequence[Target]) -> None:
    """Raise `OptionError` for a page on another device, whose times no baseline can keep."""
    if any(isinstance(target, WebTarget) and target.engine is None for target in targets):
        raise OptionError(
            "a baseline keeps what this machine can measure again, and --open measures another "
            "device: leave it out, and keep its result by nstc bench --json."
        )
