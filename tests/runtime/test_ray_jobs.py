"""What jobs on Ray are made of, without Ray; tests/end_to_end starts it."""

import asyncio
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nstc.core import Silent
from nstc.core.errors import ClusterError, Interrupted, MemoryLimitError, OptionError
from nstc.runtime import ray_jobs
from nstc.runtime.jobs import JobEnd
from nstc.runtime.ray_jobs import JobsOnRay, Mailbox, OnRay, run_task


@pytest.mark.parametrize("given", [{"workers": 0}, {"threads": -1}, {"threads": 10**9}])
def test_numbers_out_of_range(given) -> None:
    with pytest.raises(OptionError, match="expected 1 to 100000"):
        OnRay(address="local", **given)


@pytest.mark.parametrize(
    ("given", "machines", "count", "threads"),
    [
        ({}, [8, 8], 4, 4),
        ({}, [8, 8], 1, 8),  # no more than one machine has
        ({}, [8, 8], 100, 1),
        ({"workers": 2}, [8, 8], 100, 8),
        ({"workers": 8}, [8, 8], 2, 8),  # as few are left
        ({"workers": 2, "threads": 3}, [8, 8], 100, 3),
        ({"workers": 2}, [], 4, 1),
        # machines of different sizes, and what is left over of each
        ({}, [16, 2, 2], 4, 4),  # five would be three jobs at once, and four of them here
        ({}, [16, 2, 2], 10, 2),
        ({}, [16, 2, 2], 1, 16),
        ({}, [5, 5], 3, 2),
        ({}, [8, 0], 2, 4),
        ({"workers": 3}, [16, 2, 2], 100, 5),
    ],
)
def test_processors_are_shared_by_the_jobs_that_run_at_once(
    given: dict[str, int], machines: list[int], count: int, threads: int
) -> None:
    assert OnRay(address="local", **given).threads_of(machines, count) == threads


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path) -> None:
    token = tmp_path / "out" / "token"
    ended = run_task("one", lambda driver: driver.ask(), None, str(token), str(tmp_path))
    with pytest.raises(ClusterError, match=f"does not see {tmp_path / 'out'} of this one: give"):
        ended.result()


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class WorkerCrashedError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class LocalRayletDiedError(RayError):
    pass


class ScriptedRay:
    """Tasks that end at once, each by the next of these ends."""

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayTaskError=RayTaskError,
        NodeDiedError=NodeDiedError,
        LocalRayletDiedError=LocalRayletDiedError,
    )

    def __init__(self, *ends: Exception | JobEnd) -> None:
        self.ends = deque(ends)
        self.begun = 0
        self.cancelled: list[int] = []

    def remote(self, _function: Any) -> Any:
        def begin(*_given: Any) -> int:
            self.begun += 1
            return self.begun

        return SimpleNamespace(options=lambda **_named: SimpleNamespace(remote=begin))

    def wait(self, tasks: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return tasks[1:], tasks[:1]  # the first are messages, of which there are none

    def get(self, _task: int) -> JobEnd:
        end = self.ends.popleft()
        if isinstance(end, Exception):
            raise end
        return end

    def cancel(self, task: int, **_named: bool) -> None:
        self.cancelled.append(task)

    def jobs(self) -> JobsOnRay:
        mailbox = SimpleNamespace(messages=SimpleNamespace(remote=lambda: "messages"))
        jobs = JobsOnRay(self, mailbox, Path("token"), 1, 1, Silent())
        jobs.grows = True  # and no machines are looked at
        jobs.begin("one", lambda driver: None)
        return jobs


STOPPED = JobEnd("one", error=Interrupted("stopped"))


class TestLostTasks:
    @pytest.mark.parametrize("lost", [NodeDiedError("n"), LocalRayletDiedError("l"), STOPPED])
    def test_machines_and_stops_from_outside_are_no_fault_of_the_job(
        self, lost: Exception | JobEnd
    ) -> None:
        ray = ScriptedRay(lost, lost, WorkerCrashedError("w"), lost, JobEnd("one", value=5))
        assert ray.jobs().next().result() == 5
        assert ray.begun == 5

    def test_two_deaths_of_its_own_workers_are(self) -> None:
        ray = ScriptedRay(WorkerCrashedError("w"), NodeDiedError("n"), WorkerCrashedError("last"))
        with pytest.raises(MemoryLimitError, match="2 workers died over it, the last one so: last"):
            ray.jobs().next().result()

    def test_a_cluster_that_only_loses_machines_ends_the_run(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(ray_jobs, "_MOST_LOST", 3)
        jobs = ScriptedRay(*[NodeDiedError("gone")] * 3).jobs()
        with pytest.raises(ClusterError, match=r"lost 3 times, at last as its machine was .*gone"):
            jobs.next()

    @pytest.mark.parametrize("end", [STOPPED, WorkerCrashedError("w"), NodeDiedError("n")])
    def test_nothing_is_begun_again_once_the_run_is_stopped(self, end: Exception | JobEnd) -> None:
        ray = ScriptedRay(end)
        ray.jobs().stop()
        assert (ray.begun, ray.cancelled) == (1, [1])


def test_a_question_waits_for_its_answer_also_if_its_worker_is_gone() -> None:
    async def talk() -> None:
        mailbox = Mailbox()
        asked = [asyncio.create_task(mailbox.ask(name, (name, 1))) for name in "ab"]
        got = await mailbox.messages()
        got += [] if len(got) == 2 else await mailbox.messages()
        assert [(name, question) for name, _, question in got] == [("a", ("a", 1)), ("b", ("b", 1))]
        asked[0].cancel()
        await asyncio.sleep(0)
        for _, number, _ in got:
            await mailbox.reply(number, JobEnd("a", value=number))
        assert (await asked[1]).value == got[1][1]

    asyncio.run(talk())
