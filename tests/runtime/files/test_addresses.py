import socket

import pytest

from nstc.core.errors import FetchError
from nstc.runtime.files.addresses import addresses_of, is_public


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
        addresses_of("photos.example", 80, allow_private=False)


def test_unless_it_is_meant(monkeypatch) -> None:
    resolving(monkeypatch, "8.8.8.8", "10.0.0.1", "8.8.8.8")
    found = addresses_of("photos.example", 80, allow_private=True)
    assert found == ["8.8.8.8", "10.0.0.1"]


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "017700000001", "localhost"])
def test_other_spellings_of_this_machine(host) -> None:
    with pytest.raises(FetchError, match=r"is (127\.0\.0\.1|::1), an address of|can't be found"):
        addresses_of(host, 80, allow_private=False)


def test_no_such_host(monkeypatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(FetchError, match=r"nowhere\.example can't be found"):
        addresses_of("nowhere.example", 80, allow_private=False)


def test_a_name_that_can_not_be_one() -> None:
    with pytest.raises(FetchError, match="can't be found"):
        addresses_of("a" * 70 + ".example", 80, allow_private=False)


def test_a_link_local_address_keeps_its_interface(monkeypatch) -> None:
    """Without it there is no connection to it."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
    assert addresses_of("fe80::1%eth0", 80, allow_private=True) == ["fe80::1%3"]
    with pytest.raises(FetchError, match="private network"):
        addresses_of("fe80::1%eth0", 80, allow_private=False)
