"""Archives on Ray: a pool of workers, each with one opened model, on one machine or many.

What goes through Ray are paths and outcomes, never pixels: workers read and write pictures
themselves. A worker that dies is started again with the pictures that it had not told of; those
that it had written are there then, and are skipped.
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from nstc.core import VERSION, errors, files, zoo
from nstc.core.bundle import Bundle
from nstc.core.manifest import MANIFEST_FILE
from nstc.runtime import ray_cluster
from nstc.runtime.files.archives import ArchiveJob, stylize_archived
from nstc.runtime.files.batch import BatchOptions, MadeBefore, PictureOutcome, settings_of
from nstc.runtime.files.object_stores import StoredSource
from nstc.runtime.files.picture_jobs import Source
from nstc.runtime.files.refused_pictures import RefusedPictures
from nstc.runtime.packs.style_pack import Pack
from nstc.runtime.stylizer import Opening, Stylizer

_MOST_ROWS: Final = 32
"""Of a block: what a worker gets at once, and does again if it dies."""
_BLOCKS_A_WORKER: Final = 8  # at least, where there are enough pictures, to share them evenly
_MOST_DEATHS: Final = 2  # of workers on one machine over one picture, which then counts as failed
_DEADLY: Final = (
    f"is left out: {_MOST_DEATHS} workers died while they stylised it. It may need more memory "
    "than there is: give --size, or a smaller --max-pixels."
)


@dataclass(frozen=True, kw_only=True)
class RayWork:
    """What every worker gets."""

    opening: Opening
    options: BatchOptions
    # The bundle's files by their names, since other machines lack its folder; none of the zoo's.
    bundle_files: Mapping[str, bytes] = field(default_factory=dict)
    run: str = field(default_factory=lambda: secrets.token_hex(8))  # a name for it


def work_with(opening: Opening, options: BatchOptions) -> RayWork:
    """The work with a model, whose folder is read; what exists is skipped."""
    options = replace(options, skip_existing=True)
    bundle = opening.model.bundle if isinstance(opening.model, Pack) else opening.model
    if not isinstance(bundle, Bundle):
        return RayWork(opening=opening, options=options)
    name = zoo.zoo_name_of(bundle.path)
    if name is not None:
        return RayWork(opening=replace(opening, model=name), options=options)
    names = [MANIFEST_FILE, *bundle.manifest.files]
    content = {own: (bundle.path / own).read_bytes() for own in names}
    return RayWork(opening=replace(opening, model=""), options=options, bundle_files=content)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many there are; `OptionError` if it is out of range."""

    count: int | None = None  # None for as many as the cluster has room for
    threads: int = 1  # of each

    def __post_init__(self) -> None:
        ray_cluster.refuse_count("workers", self.count)
        ray_cluster.refuse_count("threads", self.threads)


def stylize_on_ray(
    jobs: Sequence[ArchiveJob],
    work: RayWork,
    address: str,
    workers: Workers,
    on_outcome: Callable[[PictureOutcome], None],
    notify: Callable[[str], None] = lambda _message: None,
) -> None:
    """Stylise pictures by workers on Ray; outcomes come in no order, each once.

    Args:
        jobs: what is read and written. Every machine of the cluster reaches it by that name.
        work: the model, and how it is used.
        address: as `nstc.runtime.ray_cluster.connected_ray` takes it.
        workers: how many.
        on_outcome: receives each outcome as soon as it is known.
        notify: receives lines for the user.

    Raises:
        ClusterError: the cluster does not answer, can't run nstc, or breaks down.
        AccessError: a bucket refuses all pictures, or what `stylize_archived` says.
        NstcError: what ends every batch, as `nstc.runtime.files.archives.stylize_archived` says,
            and as `Stylizer`.
    """
    waiting = []
    for number, job in enumerate(jobs):
        if job.source.failure is None:
            waiting.append({"number": number, "job": _packed(job)})
            continue
        failed = PictureOutcome(source=job.source.name, output=job.place, status="failed")
        on_outcome(replace(failed, error=job.source.failure))
    if not waiting:
        return
    with ray_cluster.connected_ray(address) as ray:
        machines = ray_cluster.machine_processors(ray)
        count = workers.count or ray_cluster.most_workers(machines, workers.threads)
        if workers.count is None:
            ray_cluster.refuse_too_many_threads(ray, workers.threads)
        notify(f"Ray: {count} worker{'s' if count > 1 else ''} on {sum(machines)} processors")
        if len(machines) > 1 and any(job.address is None for job in jobs):
            notify(
                f"the {len(machines)} machines must all reach the output folder by the same path"
            )
        refused = RefusedPictures(on_outcome)
        try:
            with ray_cluster.reported_as_cluster_error(ray):
                for row in _rows(ray, waiting, work, replace(workers, count=count)):
                    job = jobs[row["number"]]
                    outcome = PictureOutcome.from_dict(json.loads(row["outcome"]))
                    if row["ends"] and outcome.error is not None:
                        raise outcome.error
                    refused.add(replace(outcome, source=job.source.name, output=job.place))
            refused.end()
        finally:
            refused.release()


def _rows(
    ray: Any, waiting: Sequence[Mapping[str, Any]], work: RayWork, workers: Workers
) -> Iterator[dict[str, Any]]:
    foreman = ray.remote(Foreman).options(num_cpus=0).remote(waiting, work, workers)
    try:
        ray_cluster.refuse_other_version(ray.get(foreman.version.remote()))
        while (rows := ray.get(foreman.more.remote())) is not None:
            yield from rows
    finally:
        # it died, or the cluster did
        with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
            ray.kill(foreman)


def _packed(job: ArchiveJob) -> str:
    """Plain ASCII, which holds names that are not UTF-8 too; paths are for any working folder."""
    source = job.source
    path = None if source.path is None else str(source.path.absolute())
    stored = isinstance(source, StoredSource)
    output = job.output if job.address is not None else job.output.absolute()
    return json.dumps([source.name, path, stored, str(output), job.address])


def _unpacked(text: str) -> ArchiveJob:
    name, path, stored, output, address = json.loads(text)
    kind = StoredSource if stored else Source
    source = kind(name=name, relative=Path(output), path=None if path is None else Path(path))
    return ArchiveJob(source=source, output=Path(output), address=address)


class Foreman:
    """Runs the workers from within the cluster, which a client outside could not. An actor."""

    def __init__(
        self, waiting: Sequence[Mapping[str, Any]], work: RayWork, workers: Workers
    ) -> None:
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        count = workers.count or 1
        blocks = max(len(waiting) // _MOST_ROWS, min(len(waiting), count * _BLOCKS_A_WORKER))
        made = ray.data.from_items(list(waiting), override_num_blocks=blocks).map(
            Painter,
            fn_constructor_args=[ray.put(work)],
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=ray_cluster.worker_processors(workers.threads),
        )
        self._batches = iter(made.iter_batches(batch_size=None, batch_format="pyarrow"))

    def version(self) -> str:
        """Of nstc in the cluster."""
        return VERSION

    def more(self) -> list[dict[str, Any]] | None:
        """The next rows, as `Painter` gives them; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else list(batch.to_pylist())


class Painter:
    """A worker: stylises one picture after the other with one opened model. An actor of Ray Data.

    All errors are rows: a worker that raises one would be started again without an end.
    """

    def __init__(self, work: Any) -> None:
        import ray

        self._work: RayWork = ray.get(work)
        self._threads = ray_cluster.granted_threads(ray)
        self._kept = contextlib.ExitStack()
        self._opened: tuple[Stylizer, MadeBefore] | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of a number and a job becomes one of the number and the outcome.

        `ends` says whether its error ends the batch.
        """
        job, ends = _unpacked(row["job"]), False
        begun = files.cache_folder("begun") / f"{self._work.run}-{row['number']}"
        if deaths_over(begun) >= _MOST_DEATHS:  # Ray would start others for ever
            outcome = _failed(job, errors.ImageError(f"{job.source.name} {_DEADLY}"))
        else:
            try:
                with noted(begun):
                    outcome = self._outcome_of(job)
            except errors.NstcError as error:
                outcome, ends = _failed(job, error), True
        return {
            "number": row["number"],
            "outcome": json.dumps(outcome.to_dict()),
            "ends": ends,
        }

    def _outcome_of(self, job: ArchiveJob) -> PictureOutcome:
        options = self._work.options
        if self._opened is None:
            stylizer = self._open()
            settings = settings_of(stylizer, options.control, keep_metadata=options.keep_metadata)
            self._opened = stylizer, MadeBefore(settings)
        return stylize_archived(job, self._opened[0], options, self._opened[1])

    def _open(self) -> Stylizer:
        opening = self._work.opening
        if self._work.bundle_files:
            folder = self._kept.enter_context(files.scratch_folder())
            for name, content in self._work.bundle_files.items():
                (folder / name).write_bytes(content)
            opening = replace(opening, model=folder)
        return opening.opened(threads=self._threads)


def _failed(job: ArchiveJob, error: errors.NstcError) -> PictureOutcome:
    return PictureOutcome(source=job.source.name, output=job.place, status="failed", error=error)


@contextlib.contextmanager
def noted(begun: Path) -> Iterator[None]:
    """Leave a byte in a file if the process dies in the block."""
    begun.parent.mkdir(parents=True, exist_ok=True)
    with begun.open("ab") as stream:
        stream.write(b".")
    try:
        yield
    finally:
        begun.unlink(missing_ok=True)


def deaths_over(begun: Path) -> int:
    """How many processes died in a block that `noted` this file."""
    return begun.stat().st_size if begun.is_file() else 0
