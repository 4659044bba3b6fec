import socket
import time

import pytest

from nstc.core.errors import FetchError, OptionError
from nstc.core.remote import fetching
from nstc.core.remote.fetching import (
    FetchLimits,
    addresses_of,
    fetch,
    file_name_of,
    is_address,
    is_public,
)

HERE = FetchLimits(allow_private=True, max_bytes=1000, timeout_s=20)


def test_the_content(served) -> None:
    url = served.gives("/a.png", b"picture")
    assert fetch(url + "?size=2&name=ü x", HERE) == b"picture"
    path, headers = served.asked[0]
    assert path == "/a.png?size=2&name=%C3%BC%20x"
    assert headers["Host"] == f"127.0.0.1:{served.server_port}"
    assert headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in headers


def test_this_machine_is_refused_unless_it_is_meant(served) -> None:
    url = served.gives("/a.png", b"picture")
    with pytest.raises(FetchError, match=r"127\.0\.0\.1, an address of a private .*--allow-priv"):
        fetch(url, FetchLimits())
    assert served.asked == []


def test_a_name_is_looked_up_once_and_the_checked_address_connected_to(served, monkeypatch) -> None:
    """A name server that gives another address the second time changes nothing."""
    answers = iter(["127.0.0.1"])
    looked_up = []

    def found(host: str, port: int, *_more: object, **_options: object) -> list[object]:
        if host == "rebinding.example":
            looked_up.append(host)
            host = next(answers)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    served.gives("/a.png", b"picture")
    assert fetch(f"http://rebinding.example:{served.server_port}/a.png", HERE) == b"picture"
    assert looked_up == ["rebinding.example"]
    assert served.asked[0][1]["Host"] == f"rebinding.example:{served.server_port}"


def test_what_was_connected_to_is_checked_too(served, monkeypatch) -> None:
    """Should a checked address lead elsewhere, nothing is asked there."""
    monkeypatch.setattr(fetching, "addresses_of", lambda *_a, **_k: ["127.0.0.1"])
    url = served.gives("/a.png", b"picture")
    with pytest.raises(FetchError, match="an address of a private network"):
        fetch(url, FetchLimits())
    assert served.asked == []


class TestRedirects:
    def test_a_few_are_followed(self, served) -> None:
        served.gives("/c", b"picture")
        served.gives("/b", b"", status=307, Location=served.url("/c"))
        url = served.gives("/a", b"", status=302, Location="b")
        assert fetch(url, HERE) == b"picture"

    def test_a_circle_ends(self, served) -> None:
        url = served.gives("/a", b"", status=301, Location="/a")
        with pytest.raises(FetchError, match="more than 5 times"):
            fetch(url, HERE)
        assert len(served.asked) == 6

    def test_each_is_checked_anew(self, served, monkeypatch) -> None:
        """A public server that sends its guests to the private network is not followed there."""
        url = served.gives("/a", b"", status=302, Location="http://169.254.169.254/secrets")
        judged = fetching.is_public
        monkeypatch.setattr(fetching, "is_public", lambda text: text == "127.0.0.1" or judged(text))
        with pytest.raises(FetchError, match=r"169\.254\.169\.254 is .* private network"):
            fetch(url, FetchLimits())

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/a", "", "http://"])
    def test_to_other_schemes_or_nowhere(self, served, target) -> None:
        url = served.gives("/a", b"", status=302, Location=target)
        with pytest.raises(FetchError, match=r"only http and https|names no host|more than 5"):
            fetch(url, HERE)

    def test_messages_have_no_token(self, served) -> None:
        nowhere = served.gives("/a", b"", status=302, Location="http://[::1?token=secret")
        onward = served.gives("/b", b"", status=302, Location="/none?token=secret")
        around = served.gives("/c", b"", status=302, Location="/c?token=secret")
        for address in (nowhere, onward, around, served.url("/none")):
            with pytest.raises(FetchError, match=r"http://127.*/(a|c|none) ") as failure:
                fetch(f"{address}?token=secret", HERE)
            assert "secret" not in str(failure.value)

    @pytest.mark.parametrize("target", ["http://[::1", "//[zz]/a.jpg"])
    def test_to_what_is_not_an_address(self, served, target) -> None:
        url = served.gives("/a", b"", status=302, Location=target)
        with pytest.raises(FetchError, match=r"is not an address"):
            fetch(url, HERE)

    def test_from_https_to_plain_http(self, monkeypatch) -> None:
        monkeypatch.setattr(fetching, "_one_answer", lambda *_: "http://photos.example/a.png")
        with pytest.raises(FetchError, match="from https to plain http"):
            fetch("https://photos.example/a.png", HERE)


class TestLimits:
    def test_a_file_that_says_it_is_too_large(self, served) -> None:
        url = served.gives("/a", b"x" * 1001)
        with pytest.raises(FetchError, match=r"holds more than 0\.001 MB: raise --max-download"):
            fetch(url, HERE)

    def test_a_file_that_does_not_say_how_large_it_is(self, served) -> None:
        def pour(request) -> None:
            request.send_response(200)
            request.end_headers()
            for _ in range(100):
                request.wfile.write(b"x" * 1000)

        served.answers["/a"] = pour
        with pytest.raises(FetchError, match="holds more than"):
            fetch(served.url("/a"), HERE)

    @pytest.mark.parametrize("part", ["headers", "body"])
    def test_a_server_that_drips(self, served, part) -> None:
        """Each byte comes in time; all of them together do not."""

        def drip(request) -> None:
            beginning = b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if part == "body" else b"X: ")
            request.wfile.write(beginning)
            while not served.released.wait(0.02):
                request.wfile.write(b"x")

        served.answers["/a"] = drip
        limits = FetchLimits(allow_private=True, timeout_s=0.3)
        start = time.monotonic()
        with pytest.raises(FetchError, match=r"took longer than 0\.3 s: raise --timeout"):
            fetch(served.url("/a"), limits)
        assert time.monotonic() - start < 60

    def test_a_server_that_says_nothing(self, served) -> None:
        served.answers["/a"] = lambda _request: served.released.wait(60)
        with pytest.raises(FetchError, match="took longer than"):
            fetch(served.url("/a"), FetchLimits(allow_private=True, timeout_s=0.2))

    def test_a_server_that_never_shakes_hands(self, served) -> None:
        """A TLS handshake with a server that speaks no TLS, and keeps silent."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/a"
            with pytest.raises(FetchError, match="took longer than"):
                fetch(url, FetchLimits(allow_private=True, timeout_s=0.2))

    @pytest.mark.parametrize(
        "values", [{"max_bytes": 0}, {"timeout_s": 0}, {"timeout_s": float("nan")}]
    )
    def test_that_are_none(self, values) -> None:
        with pytest.raises(OptionError, match=r"(max-download-mb|timeout) is"):
            FetchLimits(**values)


class TestRubbish:
    def test_a_status(self, served) -> None:
        with pytest.raises(FetchError, match="answers 404 Not Found"):
            fetch(served.gives("/a", b"", status=404), HERE)

    def test_a_body_that_breaks_off(self, served) -> None:
        url = served.gives("/a", b"half", Content_Length="8")
        with pytest.raises(FetchError, match=r"broke off after 4 of 8 bytes|can't be fetched"):
            fetch(url, HERE)

    def test_what_is_packed_on_the_way(self, served) -> None:
        with pytest.raises(FetchError, match="answers in encoding gzip"):
            fetch(served.gives("/a", b"", Content_Encoding="gzip"), HERE)

    def test_what_is_no_http(self, served) -> None:
        served.answers["/a"] = lambda request: request.wfile.write(b"\xff\x00rubbish\r\n\r\n")
        with pytest.raises(FetchError, match="can't be fetched"):
            fetch(served.url("/a"), HERE)

    def test_a_server_that_hangs_up(self, served) -> None:
        served.answers["/a"] = lambda request: request.connection.close()
        with pytest.raises(FetchError, match="can't be fetched"):
            fetch(served.url("/a"), HERE)

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(FetchError, match="Connection refused"):
            fetch(f"http://127.0.0.1:{port}/a", HERE)

    def test_plain_http_where_tls_is_expected(self, served) -> None:
        url = served.gives("/a", b"").replace("http:", "https:")
        with pytest.raises(FetchError, match="can't be fetched"):
            fetch(url, HERE)

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("ftp://photos.example/a.png", "only http and https"),
            ("data:image/png;base64,AAAA", "only http and https"),
            ("http://", "names no host"),
            ("http://photos.example:99999/", "is not an address"),
            ("http://photos.example:0/", "names no host"),
            ("http://[::1/", "is not an address"),
            ("http://[zz]/", r"is not an address|can't be found"),
            ("http://user:secret@photos.example/a", "holds a password"),
        ],
    )
    def test_what_is_no_address(self, address, told) -> None:
        with pytest.raises(FetchError, match=told) as failure:
            fetch(address, HERE)
        assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://photos.example/june/beach.jpg?size=9#top", "beach.jpg"),
        ("http://photos.example/a%20b.png", "a b.png"),
        ("http://photos.example/..%2f..%2fetc%2fpasswd", "passwd"),
        ("http://photos.example/..%5c..%5cboot.ini", "boot.ini"),
        ("http://photos.example/a%00%0A%1b.png", "a.png"),
        ("http://photos.example/.bashrc", "bashrc"),
        ("http://photos.example/..", "picture"),
        ("http://photos.example", "picture"),
        ("http://[::1/a.png", "picture"),
        ("http://photos.example/" + "a" * 300 + ".png", "a" * 96 + ".png"),
    ],
)
def test_names_of_files_are_harmless(address, name) -> None:
    assert file_name_of(address) == name


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        ("http://a/b", True),
        ("HTTPS://a/b", True),
        ("ftp://a", True),
        ("data:image/png,", True),
        ("a.png", False),
        ("http.png", False),
        ("./a:b.png", False),
        ("-", False),
    ],
)
def test_what_is_taken_for_an_address(given, is_one) -> None:
    assert is_address(given) == is_one


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public(text) -> None:
    assert is_public(text)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",  # the metadata of cloud machines
        "0.0.0.0",  # noqa: S104
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:a9fe:a9fe::",
        "64:ff9b::7f00:1",  # NAT64 of the same
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_not_public(text) -> None:
    assert not is_public(text)


def resolving(monkeypatch, *addresses: str) -> None:
    def found(*_args: object, **_kwargs: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_one_private_address_of_several_is_enough_to_refuse(monkeypatch) -> None:
    resolving(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(FetchError, match=r"photos\.example is 10\.0\.0\.1.*--allow-private"):
        addresses_of("photos.example", 80)


def test_unless_it_is_meant(monkeypatch) -> None:
    resolving(monkeypatch, "8.8.8.8", "10.0.0.1", "8.8.8.8")
    found = addresses_of("photos.example", 80, HERE)
    assert found == ["8.8.8.8", "10.0.0.1"]


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "017700000001", "localhost"])
def test_other_spellings_of_this_machine(host) -> None:
    with pytest.raises(FetchError, match=r"is (127\.0\.0\.1|::1), an address of|can't be found"):
        addresses_of(host, 80)


def test_no_such_host(monkeypatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(FetchError, match=r"nowhere\.example can't be found"):
        addresses_of("nowhere.example", 80)


def test_a_name_that_can_not_be_one() -> None:
    with pytest.raises(FetchError, match="can't be found"):
        addresses_of("a" * 70 + ".example", 80)


def test_a_link_local_address_keeps_its_interface(monkeypatch) -> None:
    """Without it there is no connection to it."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
    assert addresses_of("fe80::1%eth0", 80, HERE) == ["fe80::1%3"]
    with pytest.raises(FetchError, match="private network"):
        addresses_of("fe80::1%eth0", 80)


def test_a_character_that_no_address_can_hold(served) -> None:
    with pytest.raises(FetchError):
        fetch(f"http://127.0.0.1:{served.server_port}/\ud800", HERE)
