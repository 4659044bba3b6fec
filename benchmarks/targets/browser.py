"""onnxruntime-web in WebAssembly: in Node, in headless Chromium, and wherever a link is opened."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets.base import Place, Reading, RowFacts, Target, TargetKind
from nstc.benchmarks.targets.web import engines
from nstc.benchmarks.targets.web.exchange import Exchange, PageAnswer, Patience
from nstc.benchmarks.targets.web.page_job import Content, ask, refuse_other_picture, site_of
from nstc.benchmarks.targets.web.server import (
    LOOPBACK,
    missing_openssl,
    network_address,
    self_signed,
    serving,
)
from nstc.benchmarks.targets.web.setup import (
    WebRuntime,
    missing_runtime,
    runtime_version,
    web_runtime,
)
from nstc.benchmarks.timing.latency import Timings
from nstc.benchmarks.timing.machine import THIS_MACHINE, usable_cores
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import MAX_THREADS, Session

_FILES: Final = (artifact_name("int8"), FLOAT)
"""The deployed graph and the float one; others run if they are asked for by name."""

_SILENCE_S: Final = 120.0
"""The longest wait for a message, for pictures of `_SILENCE_SIDE`; larger ones have longer."""

_SILENCE_SIDE: Final = 512
_WEB: Final = re.compile(r"^web(?=(?::[0-9]*)?$)")
_HERE: Final = Patience(opening_s=60, silence_s=_SILENCE_S)
_ELSEWHERE: Final = Patience(opening_s=600, silence_s=_SILENCE_S)

Engine = Callable[[WebRuntime, str], contextlib.AbstractContextManager[engines.Process]]
"""Opens a link, and holds on until the block ends."""


@dataclass(frozen=True, kw_only=True)
class WebTarget:
    """A place that runs JavaScript; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as results and `--target` have it: web:node:1, web:open
    threads: int | None  # to compute with; None leaves it to onnxruntime-web
    engine: Engine | None  # what opens the link; None if somebody else does, on any device
    # Whether the page is served with a certificate, which threads elsewhere need.
    https: bool = False
    patience: Patience = _HERE  # how long to wait, for pictures of 512x512
    reference_artifact: ClassVar[str] = FLOAT
    reports_memory: ClassVar[bool] = False

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """The int8 file and the float one, of what the model holds."""
        held = subject.artifacts(size)
        return tuple(name for name in _FILES if name in held) or (FLOAT,)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on all cores of this machine, whose pictures those of the page must be."""
        session = subject.open(artifact, min(len(usable_cores()), MAX_THREADS), probe)
        if session.path.suffix.lower() != ".onnx":
            raise OptionError(f"{self.name} runs ONNX files, and {session.path.name} is none.")
        return session

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Serve the files and a page that alternates between them; check what comes back."""
        asked = [ask(session, picture) for session in sessions]
        site = site_of(
            asked, web_runtime(), threads=self.threads, rounds=recipe.rounds, seed=recipe.seed
        )
        exchange = Exchange(
            [own.raw.nbytes for own in asked], rounds=recipe.rounds, threads=self.threads
        )
        larger = max(1.0, (recipe.size / _SILENCE_SIDE) ** 2)
        patience = self.patience._replace(silence_s=self.patience.silence_s * larger)
        host = LOOPBACK if self.engine is not None else network_address()

        def steps(done: int) -> None:
            progress.advance(max(0, done - len(asked)) // len(asked), {})

        with self._opened(site, exchange, host, progress) as ended:
            progress.begin(f"latency, {self.name}", recipe.rounds, 0)
            answer = exchange.wait(patience, ended=ended, steps=steps)
            progress.advance(recipe.rounds, {})
        worst = [
            refuse_other_picture(own, output, self.name)
            for own, output in zip(asked, answer.outputs, strict=True)
        ]
        first, *others = answer.samples_ms
        return Reading(
            timings=Timings(reference_ms=first, candidates_ms=tuple(others)),
            place=self._place(answer, host, max(worst)),
            rows=tuple(RowFacts() for _ in sessions[1:]),
        )

    @contextlib.contextmanager
    def _opened(
        self, site: Mapping[str, Content], exchange: Exchange, host: str, progress: Progress
    ) -> Iterator[Callable[[], str | None]]:
        """Serve, and have the link opened or tell it; gives what tells why an engine is gone."""
        if self.engine is not None:
            with serving(site, exchange) as link, self.engine(web_runtime(), link) as process:
                yield process.ended
            return
        certificate = self_signed(host) if self.https else None
        tls = None if certificate is None else certificate.context
        with serving(site, exchange, host=host, tls=tls) as link:
            progress.note(
                f"Open within {self.patience.opening_s / 60:.0f} minutes on a device in the same "
                f"network, and keep it in front:\n\n  {link}\n\nThis machine serves it on its "
                f"network address {host} until the run is over, to whoever first opens the link."
            )
            if certificate is None:
                progress.note("Over plain http a browser has one thread; --https gives it more.")
            else:
                progress.note(
                    "The browser will warn of a certificate that nobody vouches for. Its SHA-256 "
                    f"fingerprint must be\n  {certificate.fingerprint}"
                )
            yield lambda: None

    def _place(self, answer: PageAnswer, host: str, worst: int) -> Place:
        here = answer.address in {host, LOOPBACK}
        return {
            "provider": "wasm",
            "runtime": f"onnxruntime-web {runtime_version()}",
            "browser": answer.visitor.agent,
            "threads": answer.visitor.threads,
            "secure_context": answer.visitor.secure,
            "device": THIS_MACHINE if here else "another device",
            "address": answer.address,
            "clock_step_ms": answer.visitor.clock_step_ms,
            "largest_difference": worst,
        }


def _threads(argument: str | None, name: str) -> int | None:
    if argument is None:
        return None
    if not (argument.isascii() and argument.isdigit() and 1 <= int(argument[:9]) <= MAX_THREADS):
        raise OptionError(
            f"no target '{name}:{argument}': expected a number of threads from 1 to "
            f"{MAX_THREADS}, as in {name}:2."
        )
    return int(argument)


def _local(engine_name: str, argument: str | None) -> WebTarget:
    """On this machine, on one thread unless told otherwise, as phones that have no more."""
    name = f"web:{engine_name}"
    threads = _threads(argument, name) or 1
    cores = len(usable_cores())
    if threads > cores:
        raise OptionError(
            f"{name}:{threads} needs {threads} cores and this process may use {cores}: "
            f"give --target {name}:{cores} or fewer."
        )
    engine = engines.in_node if engine_name == "node" else engines.in_chromium
    return WebTarget(name=f"{name}:{threads}", threads=threads, engine=engine)


def _elsewhere(name: str, argument: str | None) -> WebTarget:
    threads = _threads(argument, name)
    return WebTarget(
        name=name if threads is None else f"{name}:{threads}",
        threads=threads,
        engine=None,
        https=name == HTTPS_NAME,
        patience=_ELSEWHERE,
    )


def _unless(*missing: Callable[[], str | None]) -> Callable[[], str | None]:
    """The first reason why not."""
    return lambda: next((reason for find in missing if (reason := find())), None)


OPEN_NAME: Final = "web:open"
HTTPS_NAME: Final = "web:open-https"

KINDS: Final[Mapping[str, TargetKind]] = {
    "web": TargetKind(
        form="web[:N]",
        summary="web:chromium, or web:node where there is no Chromium",
        make=lambda own: _local("node" if engines.missing_chromium() else "chromium", own),
        availability=_unless(missing_runtime, engines.missing_node),
    ),
    "web:node": TargetKind(
        form="web:node[:N]",
        summary="onnxruntime-web's WebAssembly in Node on this machine, N threads; 1 without N",
        make=partial(_local, "node"),
        availability=_unless(missing_runtime, engines.missing_node),
    ),
    "web:chromium": TargetKind(
        form="web:chromium[:N]",
        summary="the same in a headless Chromium",
        make=partial(_local, "chromium"),
        availability=_unless(missing_runtime, engines.missing_chromium),
    ),
    OPEN_NAME: TargetKind(
        form=f"{OPEN_NAME}[:N]",
        summary="the same in the browser of a phone that opens a link; web with --open",
        make=partial(_elsewhere, OPEN_NAME),
        availability=missing_runtime,
    ),
    HTTPS_NAME: TargetKind(
        form=f"{HTTPS_NAME}[:N]",
        summary="the same over https, which threads need there; web with --open --https",
        make=partial(_elsewhere, HTTPS_NAME),
        availability=_unless(missing_runtime, missing_openssl),
    ),
}
"""By name: where JavaScript can run."""


def opened_elsewhere(targets: Sequence[str], *, page: bool, https: bool) -> tuple[str, ...]:
    """The names of targets where `--open` makes web the page that another device opens.

    Raises:
        OptionError: --open without web, or --https without --open.
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
    """Refuse to keep another device's times: a baseline would take them for this machine's.

    Raises:
        OptionError: there is such a target.
    """
    if any(isinstance(target, WebTarget) and target.engine is None for target in targets):
        raise OptionError(
            "--save-baseline keeps what this machine can measure again, and --open measures "
            "another device: leave one of them out, and keep the result by --json."
        )
