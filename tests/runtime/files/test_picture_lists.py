"""Lists of pictures as users write them, right and wrong."""

import json

import pytest

from nstc.core.errors import ImageError, OptionError
from nstc.runtime.files.picture_lists import ListedPicture, is_list, rows_of


@pytest.fixture
def listing(tmp_path):
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def test_a_list_is_known_by_its_ending() -> None:
    assert all(map(is_list, ["a.txt", "s3://bucket/b.PARQUET", "c/d.jsonl"]))
    assert not any(map(is_list, ["a.jpg", "txt", "photos/", "s3://bucket/photos"]))


def test_a_line_of_text_is_a_path_whatever_bytes_it_has(listing) -> None:
    written = listing("list.txt", b"a b.jpg\r\n\n# c.png\ncaf\xe9.png\n")
    assert rows_of(written) == [
        ListedPicture("a b.jpg"),
        ListedPicture("# c.png"),
        ListedPicture("caf\udce9.png"),
    ]


@pytest.mark.parametrize("name", ["list.txt", "list.jsonl"])
def test_a_byte_order_mark_is_not_of_the_first_path(listing, name) -> None:
    content = b"a.jpg" if name == "list.txt" else b'{"path": "a.jpg"}'
    assert rows_of(listing(name, b"\xef\xbb\xbf" + content)) == [ListedPicture("a.jpg")]


@pytest.mark.parametrize("name", ["list.txt", "list.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_mark(listing, name, encoding) -> None:
    written = listing(name, "\ufeffa.jpg".encode(encoding))  # as PowerShell's > writes it
    with pytest.raises(OptionError, match=r"list\.\w+ is in UTF-16: expected UTF-8\. Save it"):
        rows_of(written)


def test_json_lines_may_name_the_result(listing) -> None:
    rows = [{"path": "a.jpg", "label": 3}, {"path": "b.jpg", "output": "x/y.png"}]
    written = listing("list.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    assert rows_of(written) == [ListedPicture("a.jpg"), ListedPicture("b.jpg", "x/y.png")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"image": "a", "label": 1}', "line 1, has no column path, which holds the pictures'"),
        ('{"path": 3}', "line 1, has no text in path: expected a path or an address."),
        ('{"path": ""}', "line 1, has no text in path"),
        ('{"path": "a", "output": ["b"]}', "line 1, has no text in output: expected a name"),
        ('["a.jpg"]', "line 1, is no object"),
        ("a.jpg", "line 1, is not JSON"),
        ("[" * 100_000, "line 1, is not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line, told, listing) -> None:
    with pytest.raises(OptionError, match=r"list\.jsonl") as raised:
        rows_of(listing("list.jsonl", line))
    assert told in str(raised.value)


def test_the_columns_that_are_there_are_named(listing) -> None:
    with pytest.raises(OptionError, match="its columns: image, label"):
        rows_of(listing("list.jsonl", '{"image": "a", "label": 1}'))


def test_one_that_is_missing_or_empty(listing, tmp_path) -> None:
    with pytest.raises(ImageError, match=r"none\.txt can't be read: No such file"):
        rows_of(str(tmp_path / "none.txt"))
    with pytest.raises(ImageError, match="names no picture"):
        rows_of(listing("list.txt", "\n \n"))


@pytest.mark.ray
class TestParquet:
    @pytest.fixture
    def parquet(self, tmp_path):
        import pyarrow
        from pyarrow import parquet

        def write(columns) -> str:
            path = tmp_path / "list.parquet"
            parquet.write_table(pyarrow.table(columns), path)
            return str(path)

        return write

    def test_two_columns_of_many(self, parquet) -> None:
        columns = {"label": [1, 2], "output": ["x.png", None], "path": ["a.jpg", "b.jpg"]}
        assert rows_of(parquet(columns)) == [
            ListedPicture("a.jpg", "x.png"),
            ListedPicture("b.jpg"),
        ]

    def test_a_missing_column(self, parquet) -> None:
        with pytest.raises(OptionError, match=r"has no column path.*its columns: image, label"):
            rows_of(parquet({"image": ["a.jpg"], "label": [1]}))

    def test_a_column_of_numbers(self, parquet) -> None:
        with pytest.raises(OptionError, match="row 1, has no text in path"):
            rows_of(parquet({"path": [1, 2]}))

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"text" * 99])
    def test_one_that_is_none(self, content, listing) -> None:
        with pytest.raises(ImageError, match="is not a Parquet file"):
            rows_of(listing("list.parquet", content))
