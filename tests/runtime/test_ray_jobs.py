"""What jobs on Ray are made of, without Ray; tests/end_to_end starts it."""

import asyncio

import pytest

from nstc.core.errors import ClusterError, OptionError
from nstc.runtime.jobs import JobEnd
from nstc.runtime.ray_jobs import Mailbox, OnRay, run_task


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
