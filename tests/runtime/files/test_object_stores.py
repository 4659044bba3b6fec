"""Object stores, by the one of fsspec that lies in memory; tests/end_to_end has S3."""

import io
import sys

import fsspec
import pytest
from PIL import Image

from nstc.core.errors import FetchError, MissingExtraError, OptionError, OutputError
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


def test_refused_access_says_so(store, monkeypatch) -> None:
    def refuse(*_arguments, **_options):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(store), "pipe_file", refuse)
    monkeypatch.setattr(type(store), "find", refuse)
    with pytest.raises(OutputError, match=r"cannot write memory://a/b: access is denied\. Check"):
        write("memory://a/b", b"")
    with pytest.raises(FetchError, match=r"memory://a can't be listed: access is denied"):
        list(object_stores.objects_below("memory://a"))


@pytest.mark.parametrize(
    ("address", "package", "line"),
    [("s3://a/b", "s3fs", r'pip install "nstc\[ray\]"'), ("gs://a/b", "gcsfs", "gcsfs")],
)
def test_what_opens_a_store_is_not_installed(address, package, line, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"needs {package}, not installed: .*{line}"):
        read(address)
