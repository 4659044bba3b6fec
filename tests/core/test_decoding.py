import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from nstc.core.decoding import (
    MAX_DEPTH,
    Count,
    DecodingError,
    Name,
    decode,
    parse_json,
    parse_toml,
    printable,
    read_file,
    read_json,
    refuse_other_than_sha256,
)
from nstc.core.errors import BaselineError, CorruptBaselineError


@dataclass(frozen=True, kw_only=True)
class Layer:
    width: Annotated[int, Meta(ge=1, le=64)]
    kind: Literal["plain", "separable"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Net:
    name: Name
    layers: Annotated[tuple[Layer, ...], Meta(max_length=2)]
    sizes: Mapping[str, Count] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "wrong":
            raise ValueError("the name is wrong")


GOOD: dict[str, Any] = {
    "name": "n",
    "layers": [{"width": 3}],
    "sizes": {"a.b": 1},
    "notes": {"x": [{}]},
}


class TestFiles:
    def test_a_file(self, tmp_path) -> None:
        (tmp_path / "f").write_bytes(b"12345")
        (tmp_path / "link").symlink_to("f")
        assert read_file(tmp_path / "f", 5) == b"12345"
        assert read_file(tmp_path / "link") == b"12345"

    def test_a_pipe_is_refused_at_once(self, tmp_path) -> None:
        os.mkfifo(tmp_path / "f")
        with pytest.raises(DecodingError, match="it is a pipe, not a file"):
            read_file(tmp_path / "f")

    def test_a_device_a_socket_and_a_link_where_none_may_be(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)  # the address of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
            with pytest.raises(DecodingError, match="a socket"):
                read_file(tmp_path / "s")
        with pytest.raises(DecodingError, match="a device"):
            read_file(type(tmp_path)("/dev/zero"))
        (tmp_path / "f").touch()
        (tmp_path / "link").symlink_to("f")
        with pytest.raises(DecodingError, match="a symbolic link"):
            read_file(tmp_path / "link", follow_links=False)

    def test_a_file_that_is_too_large_is_not_read(self, tmp_path) -> None:
        with (tmp_path / "f").open("wb") as stream:
            stream.truncate(6 * 10**9)  # sparse
        with pytest.raises(DecodingError, match="it has 6000 MB, expected at most 17"):
            read_file(tmp_path / "f")

    def test_what_is_not_there_or_a_folder_is_for_the_reader_to_name(self, tmp_path) -> None:
        with pytest.raises(FileNotFoundError):
            read_file(tmp_path / "f")
        with pytest.raises(IsADirectoryError):
            read_file(tmp_path)


class TestReadJson:
    def read(self, path):
        return read_json(path, BaselineError, CorruptBaselineError, advice="give --baseline FILE")

    def test_what_a_file_holds(self, tmp_path) -> None:
        (tmp_path / "f").write_text('{"a": [1]}')
        assert self.read(tmp_path / "f") == {"a": [1]}

    def test_a_file_that_is_missing_or_a_folder_is_unreadable(self, tmp_path) -> None:
        for path, why in ((tmp_path / "f", "does not exist"), (tmp_path, "is a folder")):
            with pytest.raises(BaselineError, match=f"{why}: give --baseline FILE") as caught:
                self.read(path)
            assert type(caught.value) is BaselineError

    def test_what_is_not_json_is_corrupt(self, tmp_path) -> None:
        (tmp_path / "f").write_text("{")
        with pytest.raises(CorruptBaselineError, match=r"is not JSON.*\. Give --baseline FILE"):
            self.read(tmp_path / "f")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not text in UTF-8"),
        ("{}".encode("utf-16"), "not text in UTF-8"),
        ("\ufeff{}".encode(), "byte order mark"),
        (b'{"a": 1, "a": 1}', "the key 'a' stands twice"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[1e999]", "too large"),
        (b"1" * 5000, "not JSON"),
        (b"1" * 30, "more than 64 bits"),
        (rb'"\ud800"', "surrogate"),
        (b"\x00", "not JSON"),
        (b"[" * 100_000, "levels deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "levels deep"),
        (b"[" + b"[]," * 1_500_000 + b"[]]", "more than 2,000,000 values"),
    ],
)
def test_what_is_no_json_or_too_much_of_it(content, reason) -> None:
    with pytest.raises(DecodingError, match=reason):
        parse_json(content)


def test_json_as_it_should_be() -> None:
    brackets = '"[[[[' + "[" * 100 + '\\"{"'
    assert parse_json(f'{{"a": [1, -2.5, null, true, {brackets}]}}')["a"][:4] == [
        1,
        -2.5,
        None,
        True,
    ]
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse_json("[NaN]", lenient=True) == [None]


def test_a_text_of_more_than_a_line_where_none_may_be() -> None:
    assert parse_json(r'"a\nb"') == "a\nb"
    for text in (r'"a\nb"', r'"\u001b[2J"', r'{"\u0000": 1}', '"\u202e"'):
        with pytest.raises(DecodingError, match="control characters"):
            parse_json(text, one_line_texts=True)
    assert printable("a\nb\x1b\ud800") == "a\ufffdb\ufffd\ufffd"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "not valid TOML"),
        ("\ufeffa = 1".encode(), "byte order mark"),
        (b"a = " + b"[" * 50_000, "nests too deeply"),
        (b"a = " + b"[" * 100 + b"]" * 100, "levels deep"),
        (b"a = 0x" + b"f" * 9000, "more than 64 bits"),
        (b"a = " + b"1" * 9000, "not valid TOML"),
        (b".".join([b"a"] * 50_000) + b" = 1", "very many dots"),
    ],
)
def test_what_is_no_toml_or_too_much_of_it(content, reason) -> None:
    with pytest.raises(DecodingError, match=reason):
        parse_toml(content)


def test_values_become_what_they_are_declared_as() -> None:
    net = decode(GOOD, Net)
    assert net == Net(name="n", layers=(Layer(width=3),), sizes={"a.b": 1}, notes={"x": [{}]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name is 3: expected text"),
        ({"name": ""}, "name is '': expected text of length >= 1"),
        ({"name": "wrong"}, "the name is wrong"),
        ({"layers": {}}, "layers is {}: expected a list"),
        ({"layers": [{"width": 0}]}, r"layers\[0\].width is 0: expected a whole number >= 1"),
        ({"layers": [{"width": 10**9}]}, r"layers\[0\].width is 1000000000: .* <= 64"),
        ({"layers": [{"width": True}]}, r"layers\[0\].width is True: expected a whole number"),
        ({"layers": [{"width": 1.0}]}, r"layers\[0\].width is 1.0: expected a whole number"),
        ({"layers": [{}]}, r"layers\[0\] has no width"),
        ({"layers": [{"width": 1, "kind": "x"}]}, r"layers\[0\].kind is 'x'"),
        ({"layers": [{"width": 1, "depth": 1}]}, r"layers\[0\].depth is not a key"),
        ({"layers": [{"width": 1}] * 3}, "layers is .*: expected a list of length <= 2"),
        ({"sizes": {"a": 1, "b.c": -1, "d": 1}}, "sizes.b.c is -1: expected a whole number >= 0"),
        ({"sizes": {"[0]": -1}}, r"sizes.\[0\] is -1: expected a whole number >= 0"),
        ({"more": 1}, "more is not a key that this nstc knows"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change, message) -> None:
    with pytest.raises(DecodingError, match=f"^{message}"):
        decode({**GOOD, **change}, Net)


def test_keys_of_a_newer_writer_may_be_ignored() -> None:
    assert decode({**GOOD, "more": 1}, Net, known_keys_only=False) == decode(GOOD, Net)


@pytest.mark.parametrize("text", ["", "0" * 63, "g" * 64, "A" * 64, "0" * 64 + "\n"])
def test_what_is_no_hash(text) -> None:
    with pytest.raises(ValueError, match="expected 64 hexadecimal digits"):
        refuse_other_than_sha256(text)
