"""Long jobs on Ray, such as trainings: each is a task, several run at once, on one machine or many.

A task reads and writes files itself, in folders that all machines reach by the same path. What it
says to the driver goes through a mailbox in the cluster, and it waits until that is answered. A
task whose worker dies is begun again, once; one that is lost with its machine, or stopped from
outside, up to twenty times.
"""

import asyncio
import contextlib
import itertools
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.core import VERSION, Progress, Silent, errors
from nstc.core.drafts import draft_folder
from nstc.runtime import ray_cluster
from nstc.runtime.jobs import Answer, Driver, Job, JobEnd, Jobs, JobsHere, carried_out, unasked

_MOST_DEATHS: Final = 2  # of workers over one job, which then counts as failed
_MOST_LOST: Final = 20  # machines and stops from outside over one job, which then ends the run
_LOOK_S: Final = 10.0  # between two looks at the machines, while nothing happens
_END_S: Final = 30.0  # that jobs get to keep what they have done


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """Where jobs run, and how many at once; `OptionError` if a number is out of range."""

    address: str  # as `nstc.runtime.ray_cluster.connected_ray` takes it
    workers: int | None = None  # at once; None for as many as the cluster has processors for
    threads: int | None = None  # of each; None for the most with which all of them run at once

    def __post_init__(self) -> None:
        ray_cluster.refuse_count("workers", self.workers)
        ray_cluster.refuse_count("threads", self.threads)

    def threads_of(self, machines: Sequence[int], count: int) -> int:
        """Threads of each of `count` jobs, at least 1, on machines of so many processors."""
        if self.threads is not None:
            return self.threads
        at_once = min(count, self.workers or count)
        tried = range(max(machines, default=1), 1, -1)
        fit = (own for own in tried if ray_cluster.most_at_once(machines, own) >= at_once)
        return next(fit, 1)


@contextlib.contextmanager
def opened_jobs(
    asked: OnRay | None, folder: Path, progress: Progress, title: str, count: int, done: int = 0
) -> Iterator[Jobs]:
    """Give what does jobs for as long as the block runs; those that run at its end are stopped.

    On Ray several run at once, which write into `folder`, and `title` with the `count` of jobs is
    what is shown of them, of which earlier runs have `done` some. Without it they run here, one
    after another.

    Raises:
        ClusterError: the cluster does not answer, can't run nstc or reach the folder, or breaks
            down.
        OptionError: the address is none, or no machine has so many processors.
        Interrupted: Ctrl-C in the block.
    """
    if asked is None:
        yield JobsHere(progress)
        return
    with ray_cluster.connected_ray(asked.address) as ray:
        machines = ray_cluster.machine_processors(ray)
        left = max(1, count - done)
        threads = asked.threads_of(machines, left)
        if asked.workers is None:
            ray_cluster.refuse_too_many_threads(ray, threads)
        size = asked.workers or max(1, ray_cluster.most_at_once(machines, threads))
        progress.note(
            f"Ray: {size} at once on {sum(machines)} processors, of {threads} "
            f"thread{'s' if threads > 1 else ''} each"
        )
        with (
            # by a path that workers have too, which run in other folders
            draft_folder(folder.absolute() / "reached") as token,
            _mailbox(ray) as mailbox,
        ):
            jobs = JobsOnRay(ray, mailbox, token, threads, size, progress)
            jobs.grows = asked.workers is not None
            jobs.ended = done
            progress.begin(title, done + left, done)
            try:
                yield jobs
            except KeyboardInterrupt as interrupt:
                raise errors.Interrupted(
                    "stopped; what is finished is kept, and trainings go on from their last "
                    "checkpoint. Run the same command again to go on."
                ) from interrupt
            finally:
                with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
                    jobs.stop()


@contextlib.contextmanager
def _mailbox(ray: Any) -> Iterator[Any]:
    mailbox = ray.remote(Mailbox).options(num_cpus=0).remote()
    try:
        with ray_cluster.reported_as_cluster_error(ray):
            ray_cluster.refuse_other_version(ray.get(mailbox.version.remote()))
        yield mailbox
    finally:
        with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
            ray.kill(mailbox)


class JobsOnRay(Jobs):
    """Tasks of one driver."""

    are_elsewhere = True
    grows = False  # whether the cluster may get machines that it has not yet
    ended = 0  # jobs, with those of earlier runs

    def __init__(
        self, ray: Any, mailbox: Any, token: Path, threads: int, size: int, progress: Progress
    ) -> None:
        self.size = size
        self._ray = ray
        self._mailbox = mailbox
        self._threads = threads
        self._progress = progress
        self._task = ray.remote(run_task).options(num_cpus=threads, max_retries=0)
        self._place = str(token), str(Path.cwd())
        self._given: dict[str, tuple[Job, Answer]] = {}
        self._running: dict[Any, str] = {}  # names by what Ray calls their task
        self._deaths: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._stopping = False
        self._messages = mailbox.messages.remote()

    def begin(self, name: str, job: Job, answer: Answer = unasked) -> None:
        """Hand it to the cluster, which begins it as soon as it has the processors."""
        self._given[name] = job, answer
        with ray_cluster.reported_as_cluster_error(self._ray):
            self._submit(name)

    def _submit(self, name: str) -> None:
        task = self._task.remote(name, self._given[name][0], self._mailbox, *self._place)
        self._running[task] = name

    def next(self) -> JobEnd:
        """Answer what jobs ask until one of them ends."""
        with ray_cluster.reported_as_cluster_error(self._ray):
            while True:
                ended = self._look(_LOOK_S)
                if ended is not None:
                    self.ended += 1
                    self._progress.advance(self.ended, {})
                    return ended
                if not self.grows:
                    ray_cluster.refuse_too_many_threads(self._ray, self._threads)

    def _look(self, most_s: float) -> JobEnd | None:
        """Answer what is asked now, or wait a while; a job if one has ended."""
        ready, _ = self._ray.wait([self._messages, *self._running], timeout=most_s)
        if self._messages in ready:
            for name, number, question in self._ray.get(self._messages):
                self._mailbox.reply.remote(number, self._answered(name, question))
            self._messages = self._mailbox.messages.remote()
        elif ready:
            return self._ended_of(ready[0])
        return None

    def _answered(self, name: str, question: tuple[Any, ...]) -> JobEnd:
        try:
            if len(question) == 1 and isinstance(question[0], Note):
                self._progress.note(f"{name}: {question[0].text}")
                return JobEnd(name)
            return JobEnd(name, self._given[name][1](*question))
        except Exception as error:  # noqa: BLE001  (raised again in the job)
            return JobEnd(name, error=error)

    def _ended_of(self, task: Any) -> JobEnd | None:
        """What became of a task; None if it is begun again."""
        name = self._running.pop(task)
        known = self._ray.exceptions
        try:
            ended: JobEnd = self._ray.get(task)
        except known.RayTaskError:  # which no job raises
            raise
        except (known.NodeDiedError, known.LocalRayletDiedError) as error:
            what, counted, reason = "machine was lost", self._lost, ray_cluster.reason_of(error)
        except known.RayError as error:
            what, counted, reason = "worker died", self._deaths, ray_cluster.reason_of(error)
        else:
            if isinstance(ended.error, errors.ClusterError):
                raise ended.error
            if not isinstance(ended.error, errors.Interrupted):
                return ended
            what, counted, reason = "worker was stopped", self._lost, "from outside"
        counted[name] += 1
        if self._stopping:
            return JobEnd(name, error=errors.Interrupted("stopped"))
        if self._deaths[name] >= _MOST_DEATHS:
            return JobEnd(
                name,
                error=errors.MemoryLimitError(
                    f"{name}: {_MOST_DEATHS} workers died over it, the last one so: {reason}. It "
                    "may need more memory than there is: give fewer --workers."
                ),
            )
        if self._lost[name] >= _MOST_LOST:
            raise errors.ClusterError(
                f"{name} was lost {_MOST_LOST} times, at last as its {what} ({reason}). What is "
                "written is kept: run the same command again to go on."
            )
        self._progress.note(f"{name}: its {what} and another goes on with it ({reason})")
        self._submit(name)
        return None

    def stop(self) -> None:
        """Stop what runs. Trainings get the time to write a checkpoint."""
        for task in self._running:
            self._ray.cancel(task, recursive=False)  # what it asks is answered
        self._progress = Silent()
        self._stopping = True
        deadline = time.monotonic() + _END_S
        while self._running and time.monotonic() < deadline:
            with contextlib.suppress(errors.NstcError, self._ray.exceptions.RayTaskError):
                self._look(1.0)
        for task in self._running:
            self._ray.cancel(task, force=True)


@dataclass(frozen=True)
class Note:
    """A line for the user, from a job."""

    text: str


class Mailbox:
    """Where jobs ask and the driver answers. An actor."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[tuple[str, int, tuple[Any, ...]]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[JobEnd]] = {}
        self._numbers = itertools.count()

    async def version(self) -> str:
        """Of nstc in the cluster."""
        return VERSION

    async def ask(self, name: str, question: tuple[Any, ...]) -> JobEnd:
        """Wait for the driver's answer."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._asked.put((name, number, question))
        return await self._answers[number]

    async def messages(self) -> list[tuple[str, int, tuple[Any, ...]]]:
        """What is asked, as soon as anything is: by which job, under which number, and what."""
        asked = [await self._asked.get()]
        while not self._asked.empty():
            asked.append(self._asked.get_nowait())
        return asked

    async def reply(self, number: int, answer: JobEnd) -> None:
        """Answer a question."""
        future = self._answers.pop(number)
        if not future.done():  # its worker is gone
            future.set_result(answer)


class FarDriver(Driver):
    """The driver, from a task."""

    def __init__(self, ray: Any, name: str, mailbox: Any) -> None:
        def ask(*question: Any) -> Any:
            answer: JobEnd = ray.get(mailbox.ask.remote(name, question))
            return answer.result()

        super().__init__(Silent(), ask, ray_cluster.granted_threads(ray))

    def begin(self, title: str, steps: int, done: int) -> None:
        """Many stages at once are not shown."""

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Nor are their steps."""

    def note(self, message: str) -> None:
        """One line for the user, below the job's name."""
        self.ask(Note(message))


def run_task(name: str, job: Job, mailbox: Any, token: str, folder: str) -> JobEnd:
    """Do a job in a worker. All of its errors are given back; what Ray raises is a worker's end.

    `token` is a folder that the driver has made, and `folder` the one that it runs in.
    """
    place = Path(token).parent
    if not Path(token).is_dir():
        error = errors.ClusterError(
            f"{platform.node()}, a machine of the cluster, does not see {place} of this one: give "
            "an output folder on a file system that all of them share, by the same path."
        )
        return JobEnd(name, error=error)
    import ray

    with contextlib.ExitStack() as stack:
        if Path(folder).is_dir():  # from which the paths of a command line are
            stack.enter_context(contextlib.chdir(folder))
        return carried_out(name, job, FarDriver(ray, name, mailbox))
