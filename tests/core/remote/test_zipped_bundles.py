import contextlib
import errno
import hashlib
import io
import re
import stat
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from nstc.core.bundle import open_bundle
from nstc.core.errors import BundleError, CorruptBundleError, FetchError, NstcError, OutputError
from nstc.core.model_names import path_in_file, result_name, shown_name
from nstc.core.remote import zipped_bundles


def packed(files, *, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of names, or members, and contents."""
    sink = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(sink, "w", kind) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in files:
            archive.writestr(name, content)
    return sink.getvalue()


@pytest.fixture
def files(bundle) -> list[tuple[str, bytes]]:
    """Those of a bundle."""
    return [(path.name, path.read_bytes()) for path in sorted(bundle.path.iterdir())]


@pytest.fixture
def given(served):
    """Lets an address give bytes: its name as a model, with their hash."""

    def give(content: bytes, path: str = "/night.zip", **headers: str) -> str:
        digest = hashlib.sha256(content).hexdigest()
        return f"{served.gives(path, content, **headers)}#sha256={digest}"

    return give


@pytest.mark.parametrize("folder", ["", "night/"])
def test_a_bundle_at_the_top_or_in_a_folder(given, files, bundle, served, folder) -> None:
    name = given(packed([(folder + file, content) for file, content in [*files, ("x.py", b"")]]))
    opened = open_bundle(name)
    assert opened.manifest == bundle.manifest
    assert {path.name for path in opened.path.iterdir()} == {file for file, _ in files}
    served.answers.clear()
    assert open_bundle(name).path == opened.path  # asked nobody


def test_results_call_it_by_its_address_without_what_may_be_a_token(given, files, served) -> None:
    address, _, digest = given(packed(files)).partition("#")
    name, shown = f"{address}?token=secret#{digest}", f"{address}#{digest}"
    folder = open_bundle(name).path
    assert served.asked[0][0] == "/night.zip?token=secret"
    assert result_name(folder) == shown_name(name) == shown
    served.answers.clear()
    assert open_bundle(shown.replace("night", "other")).path == folder  # asked nobody
    assert result_name(folder) == shown
    assert shown_name(f"{address}#sha256={digest.partition('=')[2].upper()}") == shown


@pytest.mark.parametrize("content", [b"<html>", packed([]), packed([("../a", b"")])])
@pytest.mark.parametrize("behind", ["", "0", "?token=secret"])
def test_a_message_has_no_token(given, content, behind) -> None:
    name = given(content).replace("#", "?token=secret#") + behind
    with pytest.raises(NstcError, match=r"/night\.zip ") as failure:
        open_bundle(name)
    assert "secret" not in str(failure.value)


def test_what_a_file_names_is_opened_only_if_it_is_kept(given, files, served) -> None:
    name = given(packed(files))
    with pytest.raises(BundleError, match=r"is not kept here.* fetch it first"):
        path_in_file(name)
    for other in (name.partition("#")[0], "https://[", "hf:me/night"):
        with pytest.raises(BundleError, match=r"has no fixed content.* a hub's commit, or https"):
            path_in_file(other)
    assert served.asked == []
    folder = open_bundle(name).path
    assert path_in_file(name) == folder
    assert path_in_file(str(folder)) == folder


def test_a_hash_is_needed(given, files, served) -> None:
    name = given(packed(files))
    for text in (name.partition("#")[0], name[:-1], name.replace("sha256", "md5")):
        with pytest.raises(BundleError, match=r"needs the file's hash.* sha256sum FILE"):
            open_bundle(text)
    assert served.asked == []


def test_another_file_than_was_meant(given, files, served) -> None:
    name = given(packed(files))
    served.gives("/night.zip", packed(files) + b"x")
    with pytest.raises(FetchError, match="not the one that was given"):
        open_bundle(name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("http://photos.example/a.zip#sha256=" + "0" * 64, "is not fetched: expected https"),
        ("https://photos.example/a.tar#sha256=" + "0" * 64, "does not name a zip file"),
        ("https://photos.example/#sha256=" + "0" * 64, "does not name a zip file"),
        ("https://[x/b.zip#sha256=" + "0" * 64, "is not an address: expected https"),
        ("https://me:SECRET@[x/b.zip", "is not an address: expected https"),
        ("https://me:SECRET@photos.example/b.zip", "a user or a password, and none is ever sent"),
    ],
)
def test_addresses_that_are_none(name, told) -> None:
    with pytest.raises(BundleError, match=told) as failure:
        open_bundle(name)
    assert "SECRET" not in str(failure.value)


def test_private_networks_are_not_asked() -> None:
    with pytest.raises(FetchError, match=r"10\.0\.0\.1, an address of a private .*machine\.$"):
        open_bundle("https://10.0.0.1/a.zip#sha256=" + "0" * 64)


def test_redirects_lead_to_https_alone(given, files, served) -> None:
    elsewhere = served.gives("/other.zip", packed(files))
    name = given(b"", status=302, Location=elsewhere)
    with pytest.raises(FetchError, match="to plain http: not followed"):
        open_bundle(name)


def test_a_file_above_the_limit(given, files, monkeypatch) -> None:
    monkeypatch.setattr(zipped_bundles, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(FetchError, match=r"holds more than 0\.0001 MB\.$"):
        open_bundle(given(packed(files)))


def member(name: str, **known: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    for key, value in known.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../outside.txt", "would lead out"),
        ("a/../../outside.txt", "would lead out"),
        ("/etc/outside.txt", "would lead out"),
        ("a//outside.txt", "would lead out"),
        ("C:outside.txt", "would lead out"),
        ("a/con.txt", "a device on Windows"),
        (member("link", external_attr=(stat.S_IFLNK | 0o777) << 16), "a link or a device"),
        (member("pipe", external_attr=stat.S_IFIFO << 16), "a link or a device"),
        (member("x", compress_type=zipfile.ZIP_LZMA), "expected deflate"),
        ("MODEL.onnx", "twice"),
        ("manifest.json", "twice"),
    ],
)
def test_members_that_are_not_unpacked(given, files, tmp_path, name, told) -> None:
    with pytest.raises(CorruptBundleError, match=told):
        open_bundle(given(packed([*files, (name, b"outside")])))
    assert not list(tmp_path.rglob("outside*"))


def test_a_backslash_and_a_null_in_a_name(given, files) -> None:
    content = packed([*files, ("a_b_outside", b"")])
    for other in (b"a\\b_outside", b"a\0b_outside"):
        with pytest.raises(CorruptBundleError, match="would lead out"):
            open_bundle(given(content.replace(b"a_b_outside", other)))


def test_an_encrypted_member(given, files) -> None:
    content = bytearray(packed(files))
    for start in (found.start() for found in re.finditer(b"PK\x01\x02", bytes(content))):
        content[start + 8] |= 1
    with pytest.raises(CorruptBundleError, match="encrypted"):
        open_bundle(given(bytes(content)))


def test_a_file_that_differs_from_the_manifest(given, files) -> None:
    changed = [
        (file, content[::-1] if file == "model.onnx" else content) for file, content in files
    ]
    with pytest.raises(CorruptBundleError, match=r"model\.onnx that differs"):
        open_bundle(given(packed(changed)))


def test_a_file_that_unpacks_to_more_than_its_manifest_says(given, files) -> None:
    bomb = [(file, b"0" * 10**7 if file == "model.onnx" else own) for file, own in files]
    with pytest.raises(CorruptBundleError, match=r"model\.onnx is larger than it may be"):
        open_bundle(given(packed(bomb)))


def test_a_member_that_lies_about_its_size(given, files) -> None:
    size = dict(files)["model.onnx"]
    content = packed([(f, b"0" * 10**7 if f == "model.onnx" else own) for f, own in files])
    lying = content.replace((10**7).to_bytes(4, "little"), len(size).to_bytes(4, "little"))
    with pytest.raises(CorruptBundleError, match=r"model\.onnx (can't be unpacked|that differs)"):
        open_bundle(given(lying))


@pytest.mark.parametrize("missing", ["model.onnx", "manifest.json"])
def test_files_that_are_missing(given, files, missing) -> None:
    with pytest.raises(BundleError, match=f"holds no {missing}"):
        open_bundle(given(packed([own for own in files if own[0] != missing])))


def test_two_bundles_in_one_file(given, files) -> None:
    both = [(folder + file, content) for folder in ("a/", "b/") for file, content in files]
    with pytest.raises(BundleError, match=r"holds 2 manifest\.json"):
        open_bundle(given(packed(both)))


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x05\x06" + b"\0" * 17 + b"x"])
def test_what_is_no_zip_file(given, content) -> None:
    with pytest.raises(CorruptBundleError, match="is not a zip file"):
        open_bundle(given(content))


def test_too_many_members(given, files, monkeypatch) -> None:
    monkeypatch.setattr(zipped_bundles, "MAX_MEMBERS", 3)
    with pytest.raises(CorruptBundleError, match="holds more than 3 files"):
        open_bundle(given(packed(files)))


def test_a_deflated_stream_that_is_damaged(given, files) -> None:
    content = bytearray(packed(files))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = archive.getinfo("model.onnx")
    start = member.header_offset + 30 + len(member.filename)
    content[start : start + member.compress_size] = b"\xff" * member.compress_size
    with pytest.raises(CorruptBundleError, match=r"model\.onnx can't be unpacked"):
        open_bundle(given(bytes(content)))


def test_an_end_that_leads_before_the_start(given, files) -> None:
    content = bytearray(packed(files))
    directory = int.from_bytes(content[-6:-2], "little")
    content[-6:-2] = (directory + 1000).to_bytes(4, "little")
    with pytest.raises(CorruptBundleError, match=r"is damaged|is not a zip file"):
        open_bundle(given(bytes(content)))


def test_a_disk_that_is_full_is_not_the_zip_files_fault(given, files, monkeypatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    name, opened = given(packed(files)), Path.open

    def unwritable(path: Path, mode: str = "r", *rest: object, **options: object):
        stream = opened(path, mode, *rest, **options)
        if path.name == "model.onnx" and "w" in mode:
            stream.close()
            return contextlib.nullcontext(SimpleNamespace(write=full))
        return stream

    monkeypatch.setattr(Path, "open", unwritable)
    with pytest.raises(OutputError, match="No space left"):
        open_bundle(name)


def test_damaged_bytes(given, files) -> None:
    content = bytearray(packed(files, kind=zipfile.ZIP_STORED))
    content[content.find(b"PK\x03\x04", 4) + 60] ^= 255
    with pytest.raises(CorruptBundleError, match=r"can't be unpacked|differs from|is not a"):
        open_bundle(given(bytes(content)))
