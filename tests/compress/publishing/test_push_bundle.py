import shutil

import pytest
from packed_students import *  # noqa: F403  (fixtures)
from stub_hub import TOKEN, Repository

from nstc.compress.publishing.push_bundle import push
from nstc.core.bundle import open_bundle
from nstc.core.decoding import MAX_BYTES
from nstc.core.errors import CorruptBundleError, FetchError, OptionError
from nstc.runtime.verification import record, verify

NAME = "hf:me/night"

# huggingface_hub sends large files in a way that its HTTP library warns of
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_what_is_sent_is_the_same_model_and_verifies(logged_in, verified) -> None:
    pushed = push(verified.path, NAME, license="mit", message="A night")
    assert pushed.pinned == f"{NAME}@{pushed.commit}"
    assert pushed.url == f"{logged_in.url}/me/night/commit/{pushed.commit}"
    assert logged_in.messages == ["A night"]
    fetched = open_bundle(pushed.pinned)
    assert fetched.identity == verified.identity
    assert not verify(pushed.pinned).errors
    sent = logged_in.repositories["me/night"].commits[pushed.commit]
    assert sent.keys() - {".gitattributes"} == {"manifest.json", *verified.manifest.files}
    assert fetched.file("README.md").read_text().startswith('---\nlicense: "mit"\n')


def test_a_pack_names_no_folder_of_this_machine(logged_in, shared_pack) -> None:
    own = str(shared_pack.styles[0].bundle.path)
    assert own in (shared_pack.bundle.path / "styles.json").read_text()
    pushed = push(shared_pack.bundle.path, NAME)
    sent = logged_in.repositories["me/night"].commits[pushed.commit]
    assert all(own.encode() not in content for content in sent.values())
    assert not verify(pushed.pinned).errors


def test_files_that_the_manifest_does_not_name_stay_here(logged_in, verified) -> None:
    (verified.path / "notes.txt").write_text("private")
    pushed = push(verified.path, NAME)
    assert "notes.txt" not in logged_in.repositories["me/night"].commits[pushed.commit]


def test_files_of_an_earlier_push_go_in_the_same_commit_and_others_stay(
    logged_in, verified, make_bundle, tmp_path
) -> None:
    first = push(verified.path, NAME)
    repository = logged_in.repositories["me/night"]
    repository.add({**repository.commits[first.commit], "LICENSE": b"mine", "model.txt": b"mine"})
    smaller = make_bundle(tmp_path / "smaller", artifacts=("int8",))
    record(smaller.path)

    second = push(smaller.path, NAME)

    assert (first.removed, second.removed) == ((), ("model.onnx",))
    held = repository.commits[second.commit].keys()
    sent = {"manifest.json", *open_bundle(smaller.path).manifest.files, "README.md"}
    assert held == {*sent, ".gitattributes", "LICENSE", "model.txt"}
    assert len(logged_in.messages) == 2
    assert not verify(second.pinned).errors


@pytest.mark.parametrize("content", [b"\xff", b"{}", b'{"files": {"LICENSE": 1}}'])
def test_nothing_goes_where_the_manifest_is_not_of_nstc(logged_in, verified, content) -> None:
    push(verified.path, NAME)
    repository = logged_in.repositories["me/night"]
    others = {"manifest.json": content, "LICENSE": b"theirs", "model.onnx.old": b"theirs"}
    repository.add(others)

    pushed = push(verified.path, NAME)

    assert pushed.removed == ()
    assert {"LICENSE", "model.onnx.old"} <= repository.commits[pushed.commit].keys()


def test_a_large_manifest_of_another_program_is_not_read(logged_in, verified) -> None:
    push(verified.path, NAME)
    repository = logged_in.repositories["me/night"]
    repository.add({"manifest.json": b" " * (MAX_BYTES + 1), "LICENSE": b"theirs"})

    pushed = push(verified.path, NAME)

    assert pushed.removed == ()
    assert repository.commits[pushed.commit]["LICENSE"] == b"theirs"


def test_what_another_push_brought_meanwhile_goes_too(
    logged_in, verified, make_bundle, tmp_path
) -> None:
    smaller = make_bundle(tmp_path / "smaller", artifacts=("int8",))
    record(smaller.path)
    push(smaller.path, NAME)
    whole = push(verified.path, "hf:me/other")
    repository = logged_in.repositories["me/night"]
    others = logged_in.repositories["me/other"].commits[whole.commit]

    def between() -> None:
        logged_in.before_commit = lambda: None
        repository.add(others)

    logged_in.before_commit = between
    pushed = push(smaller.path, NAME)

    assert pushed.removed == ("model.onnx",)
    assert "model.onnx" not in repository.commits[pushed.commit]
    assert not verify(pushed.pinned).errors


def test_a_branch_that_never_rests(logged_in, verified) -> None:
    push(verified.path, NAME)
    repository = logged_in.repositories["me/night"]
    logged_in.before_commit = lambda: repository.add({"a.txt": b""}) and None
    with pytest.raises(FetchError, match="is being changed by others: send it again"):
        push(verified.path, NAME)
    assert len(logged_in.messages) == 1


def test_paths_of_this_machine_stay_here(logged_in, verified, tmp_path) -> None:
    pushed = push(verified.path, NAME)
    sent = logged_in.repositories["me/night"].commits[pushed.commit]
    assert not [name for name, own in sent.items() if str(tmp_path).encode() in own]
    fetched = open_bundle(pushed.pinned)
    assert fetched.manifest.teacher.name == "mosaic"
    assert fetched.manifest.history[0].recipe == {"teacher": "mosaic.onnx", "steps": 3}
    assert "Taught by mosaic.onnx." in fetched.file("README.md").read_text()


def test_a_model_of_a_hub_is_sent_with_one_head_and_its_licence(logged_in, verified) -> None:
    first = push(verified.path, NAME, license="mit")
    second = push(first.pinned, "hf:me/again")
    assert second.license == "mit"
    text = open_bundle(second.pinned).file("README.md").read_text()
    assert text.count("\n---\n") == text.count("## Use this model") == 1
    assert "-m hf:me/again -o" in text


def test_a_damaged_bundle_is_not_sent(logged_in, verified) -> None:
    (verified.path / "README.md").write_text("another")
    with pytest.raises(CorruptBundleError, match="not sent, since it does not verify"):
        push(verified.path, NAME)
    assert logged_in.asked == []


def test_nor_one_whose_pictures_nothing_vouches_for(logged_in, bundle) -> None:
    with pytest.raises(CorruptBundleError, match="there is no check vector of it"):
        push(bundle.path, NAME)
    assert logged_in.asked == []


def test_a_dry_run_asks_no_hub(stub_hub, verified, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    planned = push(verified.path, NAME, dry_run=True)
    assert planned.commit is planned.url is None
    assert planned.sizes.keys() == {"manifest.json", *verified.manifest.files}
    assert stub_hub.asked == []
    with pytest.raises(FetchError, match="HF_HUB_OFFLINE forbids"):
        push(verified.path, NAME)


def test_a_private_repository(logged_in, verified) -> None:
    push(verified.path, NAME, private=True)
    assert logged_in.repositories["me/night"].private
    push(verified.path, NAME, private=True)
    logged_in.repositories["me/open"] = Repository()
    logged_in.holds("me/open", {"a.txt": b""})
    with pytest.raises(OptionError, match=r"hf:me/open is public already.*Nothing was sent"):
        push(verified.path, "hf:me/open", private=True)
    assert len(logged_in.repositories["me/open"].commits) == 1


def test_a_branch(logged_in, verified) -> None:
    pushed = push(verified.path, NAME, revision="v2")
    branches = logged_in.repositories["me/night"].branches
    assert branches["v2"] == pushed.commit != branches["main"]
    assert open_bundle(f"{NAME}@v2").identity == verified.identity


def test_a_hub_that_leaves_a_file_out(logged_in, verified, monkeypatch) -> None:
    add = Repository.add

    def forgetful(self, files, branch="main"):
        return add(self, {n: c for n, c in files.items() if n != "weights.safetensors"}, branch)

    monkeypatch.setattr(Repository, "add", forgetful)
    with pytest.raises(FetchError, match=r"lacks weights\.safetensors after it was sent"):
        push(verified.path, NAME)


def test_without_a_token(stub_hub, verified) -> None:
    with pytest.raises(FetchError, match=r"refuses access|asks for a token"):
        push(verified.path, NAME)


def test_a_hub_that_answers_html(logged_in, verified) -> None:
    logged_in.broken = b"<html>"
    with pytest.raises(FetchError, match="does not answer as a hub does") as failure:
        push(verified.path, NAME)
    assert TOKEN not in str(failure.value)


@pytest.mark.parametrize(
    ("target", "how", "told"),
    [
        ("me/night", {}, "expected hf:OWNER/NAME"),
        ("hf:me/night@main", {}, "as --revision"),
        ("hf:me/night/a.onnx", {}, "expected hf:OWNER/NAME"),
        (NAME, {"revision": "a b"}, "revision 'a b'"),
        (NAME, {"revision": "0" * 40}, "name of a branch"),
        (NAME, {"license": "My own!"}, "short name such as apache-2.0"),
        (NAME, {"message": "two\nlines"}, "a line of at most"),
    ],
)
def test_what_can_not_be_asked_for(stub_hub, verified, target, how, told) -> None:
    with pytest.raises(OptionError, match=told):
        push(verified.path, target, **how)
    shutil.rmtree(verified.path)
    assert stub_hub.asked == []
