"""Object stores, by the one of fsspec that lies in memory; tests/end_to_end has S3."""

import io
import re
import sys

import fsspec
import pytest
from PIL import Image

from nstc.core.errors import (
    AccessError,
    FetchError,
    MissingExtraError,
    OptionError,
    OutputError,
)
from nstc.core.remote.fetching import FetchLimits
from nstc.runtime.files import object_stores
from nstc.runtime.files.object_stores import StoredSource, exists, is_stored, read, write


@pytest.fixture
def store():
    """The store in memory, empty before and after."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def test_only_stores_are_stores() -> None:
    assert all(map(is_stored, ["s3://bucket/a", "gs://bucket/a", "memory://a"]))
    others = ["https://host/a", "file:///etc/passwd", "s3", "s3:/a", "simplecache::s3://a/b"]
    assert not any(map(is_stored, others))


def test_what_is_written_is_read(store) -> None:
    assert not exists("memory://in/a.bin")
    write("memory://in/a.bin", b"abc")
    assert exists("memory://in/a.bin")
    assert read("memory://in/a.bin") == b"abc"
    write("memory://in/empty", b"")
    assert read("memory://in/empty") == b""


def test_objects_below_a_prefix_are_sorted_with_their_paths_in_it(store) -> None:
    for name in ("b/c.jpg", "a.jpg", "b/.hidden"):
        write(f"memory://in/{name}", b"x")
    write("memory://other/d.jpg", b"x")
    found = [(address, str(below)) for address, below in object_stores.objects_below("memory://in")]
    assert found == [
        ("memory://in/a.jpg", "a.jpg"),
        ("memory://in/b/.hidden", "b/.hidden"),
        ("memory://in/b/c.jpg", "b/c.jpg"),
    ]


def test_a_picture_of_more_bytes_than_allowed_is_not_read(store, pixels) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    write("memory://in/a.png", stream.getvalue())
    source = StoredSource(name="memory://in/a.png", relative=None)
    with source.open() as file:
        assert (file.width, file.height) == (53, 37)
    with pytest.raises(FetchError, match=r"holds more than 0\.001 MB: raise --max-download-mb"):
        source.open(limits=FetchLimits(max_bytes=1000))


def test_what_is_not_there(store) -> None:
    with pytest.raises(FetchError, match=r"memory://in/a can't be read: there is no such object"):
        read("memory://in/a")
    with pytest.raises(OptionError, match="names no place: expected memory://BUCKET/PATH"):
        read("memory://")


class HttpError(Exception):
    """As gcsfs has it."""

    code = 401


class NoCredentialsError(Exception):
    """As botocore has it."""


class ClientError(Exception):
    """As botocore has it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


def of_s3(code: str, message: str, kind: type[OSError] = PermissionError) -> OSError:
    """As s3fs raises it."""
    error = kind(message)
    error.__cause__ = ClientError(code)
    return error


ASKED = {
    "info": lambda: exists("memory://a/b"),
    "pipe_file": lambda: write("memory://a/b", b""),
    "find": lambda: list(object_stores.objects_below("memory://a/b")),
    "cat_file": lambda: read("memory://a/b"),
}


@pytest.fixture
def failing(store, monkeypatch):
    """Asks a store, of which one method raises this."""
    store.pipe_file("a/b", b"x")

    def ask(method: str, error: Exception) -> None:
        def refuse(*_arguments, **_options):
            raise error

        monkeypatch.setattr(type(store), method, refuse)
        ASKED[method]()

    return ask


@pytest.mark.parametrize("method", ASKED)
class TestWhatIsNotAllowed:
    @pytest.mark.parametrize(
        "error", [PermissionError("Forbidden"), OSError("Forbidden: a/b\nno"), HttpError("no")]
    )
    def test_no_rights(self, failing, method, error) -> None:
        with pytest.raises(AccessError) as raised:
            failing(method, error)
        assert re.search(
            r"memory://a/b.*: access is denied \((Forbidden.*|no)\)\. .* lack the right to .*s3:",
            str(raised.value),
        )
        assert not raised.value.no_credentials

    def test_no_credentials(self, failing, method) -> None:
        with pytest.raises(AccessError, match=r"has no credentials for it \(none\)") as raised:
            failing(method, NoCredentialsError("none."))
        assert raised.value.no_credentials

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("ExpiredToken", "The provided token has expired."),
            ("InvalidAccessKeyId", "The key does not exist in our records."),
            ("InvalidToken", "The provided token is malformed."),
            ("RequestTimeTooSkewed", "The difference between the times is too large."),
            ("SignatureDoesNotMatch", "The signature does not match."),
        ],
    )
    def test_credentials_that_are_not_valid(self, failing, method, code, reason) -> None:
        with pytest.raises(AccessError) as raised:
            failing(method, of_s3(code, reason))
        told = str(raised.value)
        assert "the store does not accept the credentials of" in told
        assert f" ({reason.rstrip('.')}). Give valid ones to every machine" in told
        assert raised.value.no_credentials

    def test_an_object_in_an_archive_of_s3_is_one_failure(self, failing, method) -> None:
        reason = "The operation is not valid for the object's storage class"
        with pytest.raises(AccessError, match=f"access is denied \\({reason}\\)") as raised:
            failing(method, of_s3("InvalidObjectState", reason))
        assert not raised.value.no_credentials

    def test_a_store_that_fails_is_no_answer(self, failing, method) -> None:
        with pytest.raises((FetchError, OutputError), match=r"memory://a/b.*: out of order\."):
            failing(method, OSError("out of order"))


@pytest.mark.parametrize("ask", [ASKED["info"], ASKED["cat_file"]])
@pytest.mark.parametrize(("code", "kind"), [("400", OSError), ("403", PermissionError)])
def test_what_s3_answers_to_head_without_a_reason_is_asked_again(
    ask, code, kind, store, monkeypatch
) -> None:
    def head(*_arguments, **_options):
        raise of_s3(code, "Bad Request", kind)

    def get(*_arguments, **_options):
        raise of_s3("ExpiredToken", "The provided token has expired.")

    store.pipe_file("a/b", b"x")
    monkeypatch.setattr(type(store), "info", head)
    monkeypatch.setattr(type(store), "cat_file", get)
    with pytest.raises(AccessError, match=r"\(The provided token has expired\)") as raised:
        ask()
    assert raised.value.no_credentials


def test_a_prefix_is_no_object(store) -> None:
    write("memory://in/sub/a.bin", b"abc")
    assert not exists("memory://in/sub")


@pytest.mark.parametrize(
    ("address", "package", "line"),
    [("s3://a/b", "s3fs", r'pip install "nstc\[ray\]"'), ("gs://a/b", "gcsfs", "gcsfs")],
)
def test_what_opens_a_store_is_not_installed(address, package, line, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"needs {package}, not installed: .*{line}"):
        read(address)
