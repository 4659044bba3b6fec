"""One denied picture is a failure, and a closed bucket the end of a run."""

import pytest

from nstc.core.errors import AccessError, ImageError
from nstc.runtime.files.batch import PictureOutcome
from nstc.runtime.files.refused_pictures import MOST_REFUSED, RefusedPictures


def outcome(source: str, status="failed", error=None) -> PictureOutcome:
    return PictureOutcome(source=source, output="out/a.png", status=status, error=error)


def denied(source: str) -> PictureOutcome:
    return outcome(source, error=AccessError(f"{source} can't be read: access is denied."))


@pytest.fixture
def passed() -> list[str]:
    return []


@pytest.fixture
def refused(passed) -> RefusedPictures:
    return RefusedPictures(lambda own: passed.append(own.source))


def test_all_of_a_bucket_end_the_run_in_one_line(refused, passed) -> None:
    refused.add(outcome("local.png", "done"))
    for number in range(MOST_REFUSED - 1):
        refused.add(denied(f"s3://closed/{number}"))
        refused.add(denied(f"s3://other/{number}"))
    with pytest.raises(AccessError) as raised:
        refused.add(denied("s3://closed/last"))
    assert str(raised.value) == (
        "s3://closed/0 can't be read: access is denied. s3://closed gave none of the 100 pictures "
        "that were asked for."
    )
    refused.release()
    assert passed == ["local.png"]


@pytest.mark.parametrize("read", [{"status": "done"}, {"error": ImageError("is no picture.")}])
def test_a_bucket_that_gives_others_has_failures(read, refused, passed) -> None:
    refused.add(denied("s3://bucket/one"))
    refused.add(outcome("s3://bucket/two", **read))
    for number in range(2 * MOST_REFUSED):
        refused.add(denied(f"s3://bucket/{number}"))
    refused.end()
    assert passed[:3] == ["s3://bucket/two", "s3://bucket/one", "s3://bucket/0"]
    assert len(passed) == 2 + 2 * MOST_REFUSED


def test_a_second_run_goes_on_as_the_first(refused, passed) -> None:
    refused.add(denied("s3://bucket/one"))
    refused.add(outcome("s3://bucket/made", "skipped"))
    for number in range(2 * MOST_REFUSED):
        refused.add(denied(f"s3://bucket/{number}"))
    refused.add(outcome("s3://bucket/behind", "done"))
    refused.end()
    assert passed[:3] == ["s3://bucket/made", "s3://bucket/one", "s3://bucket/0"]
    assert (len(passed), passed[-1]) == (3 + 2 * MOST_REFUSED, "s3://bucket/behind")


def test_a_run_of_nothing_else_is_an_error(refused, passed) -> None:
    refused.add(denied("s3://bucket/one"))
    with pytest.raises(AccessError, match=r"^s3://bucket/one can't be read: access is denied\.$"):
        refused.end()
    assert passed == []
