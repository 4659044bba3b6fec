"""A hub on this machine: the answers of Hugging Face's, for what `huggingface_hub` asks of it."""

import base64
import hashlib
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from nstc.core.remote import hub

LARGE = (".onnx", ".safetensors", ".pth")  # files that are in large-file storage
TOKEN = "hf_secretsecretsecretsecretsecret"


def sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def git_hash(content: bytes) -> str:
    return sha1(b"blob %d\0" % len(content) + content)


@dataclass
class Repository:
    """Files of each commit, and the commits that branches lead to."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def add(self, files: dict[str, bytes], branch: str = "main") -> str:
        """A new commit of a branch, with these files alone."""
        listed = json.dumps([len(self.commits), {n: git_hash(c) for n, c in files.items()}])
        commit = sha1(listed.encode())
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit


class StubHub(ThreadingHTTPServer):
    """What it holds, what it was asked, and how it is out of order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.stored: dict[str, bytes] = {}  # in large-file storage, by hash
        self.broken: bytes | None = None  # what it answers to everything
        self.status = 200  # with that
        self.messages: list[str] = []  # of commits
        self.before_commit: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def holds(self, name: str, folder: Path | dict[str, bytes]) -> str:
        """Put a folder's files, or these, into a repository's main branch; its commit."""
        files = (
            {path.name: path.read_bytes() for path in folder.iterdir()}
            if isinstance(folder, Path)
            else folder
        )
        return self.repositories.setdefault(name, Repository()).add(files)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: StubHub

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        sent = {"Content-Length": str(len(content)), "Content-Type": "application/json"}
        for name, value in (sent | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def says(self, content: object, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(content).encode(), status, **headers)

    def refuses(self, status: int, code: str, message: str) -> None:
        self.says({"error": message}, status, X_Error_Code=code, X_Error_Message=message)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.broken is not None:
            self.answer(
                self.server.broken, self.server.status, Content_Type="text/html; charset=utf-8"
            )
            return
        parts = path.strip("/").split("/")
        if parts[0] == "storage":
            self.storage(parts[1], body)
        elif path == "/api/validate-yaml":
            self.says({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self.batch(json.loads(body))
        elif self.repository(parts) is not None:
            self.of_repository(parts, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def repository(self, parts: list[str]) -> Repository | None:
        start = 2 if parts[:2] == ["api", "models"] else 0
        found = self.server.repositories.get("/".join(parts[start : start + 2]))
        if found is None or (found.private and not self.headers.get("Authorization")):
            self.refuses(401, "RepoNotFound", "Repository not found")
            return None
        return found

    def of_repository(self, parts: list[str], body: bytes) -> None:
        repository = self.repository(parts)
        assert repository is not None
        name = "/".join(parts[2:4])
        if parts[0] != "api":
            self.resolve(repository, parts[3], "/".join(parts[4:]))
        elif parts[4:5] == ["preupload"]:
            files = json.loads(body)["files"]
            modes = {own["path"]: own["path"].endswith(LARGE) for own in files}
            self.says(
                {
                    "files": [
                        {
                            "path": path,
                            "uploadMode": "lfs" if large else "regular",
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for path, large in modes.items()
                    ]
                }
            )
        elif parts[4:5] == ["branch"]:
            repository.branches["/".join(parts[5:])] = repository.branches["main"]
            self.says({})
        elif parts[4:5] == ["commit"]:
            self.commit(name, repository, "/".join(parts[5:]), body)
        else:
            revision = "/".join(parts[5:]) or "main"
            commit = repository.branches.get(revision, revision)
            if commit not in repository.commits:
                self.refuses(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return
            self.says(self.info(name, repository, commit))

    def info(self, name: str, repository: Repository, commit: str) -> dict[str, Any]:
        siblings = []
        for file, content in repository.commits[commit].items():
            own: dict[str, Any] = {
                "rfilename": file,
                "size": len(content),
                "blobId": git_hash(content),
            }
            if file.endswith(LARGE):
                digest = hashlib.sha256(content).hexdigest()
                own["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(own)
        return {
            "_id": "66f0f0f0f0f0f0f0f0f0f0f0",
            "id": name,
            "modelId": name,
            "author": name.partition("/")[0],
            "sha": commit,
            "lastModified": "2026-11-30T12:00:00.000Z",
            "private": repository.private,
            "disabled": False,
            "gated": "auto" if repository.gated else False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }

    def resolve(self, repository: Repository, revision: str, file: str) -> None:
        if repository.gated:
            self.refuses(403, "GatedRepo", "Access to model is restricted")
            return
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self.refuses(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        content = repository.commits[commit].get(file)
        if content is None:
            self.says(
                {"error": "Entry not found"},
                404,
                X_Error_Code="EntryNotFound",
                X_Error_Message="Entry not found",
                X_Repo_Commit=commit,
            )
            return
        if not file.endswith(LARGE):
            self.answer(content, ETag=f'"{git_hash(content)}"', X_Repo_Commit=commit)
            return
        digest = hashlib.sha256(content).hexdigest()
        self.server.stored[digest] = content
        self.answer(
            b"",
            302,
            Location=f"http://localhost:{self.server.server_port}/storage/{digest}",
            X_Repo_Commit=commit,
            X_Linked_Size=str(len(content)),
            X_Linked_ETag=f'"{digest}"',
        )

    def storage(self, digest: str, body: bytes) -> None:
        if self.command == "PUT":
            self.server.stored[digest] = body
            self.answer(b"")
            return
        self.answer(self.server.stored[digest], ETag=f'"{digest}"')

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        url = f"{self.server.url}/{name}"
        if not self.headers.get("Authorization"):
            self.refuses(401, "", "Invalid username or password.")
        elif name in self.server.repositories:
            self.says({"error": "You already created this model repo", "url": url}, 409)
        else:
            private = bool(asked.get("private") or asked.get("visibility") == "private")
            made = self.server.repositories[name] = Repository(private=private)
            made.add({".gitattributes": b"*.onnx filter=lfs\n"})
            self.says({"url": url, "name": name, "id": "66f0f0f0f0f0f0f0f0f0f0f1"})

    def batch(self, asked: dict[str, Any]) -> None:
        self.says(
            {
                "transfer": "basic",
                "objects": [
                    {
                        "oid": own["oid"],
                        "size": own["size"],
                        "actions": {"upload": {"href": f"{self.server.url}/storage/{own['oid']}"}},
                    }
                    for own in asked["objects"]
                ],
            }
        )

    def commit(self, name: str, repository: Repository, branch: str, body: bytes) -> None:
        self.server.before_commit()
        files = dict(repository.commits[repository.branches[branch]])
        lines = [json.loads(line) for line in body.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent not in (None, repository.branches[branch]):
            self.refuses(412, "", "A commit has happened since. Please refresh and try again.")
            return
        for own in lines:
            value = own["value"]
            if own["key"] == "header":
                self.server.messages.append(value["summary"])
            elif own["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif own["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif own["key"] == "deletedFile":
                del files[value["path"]]
        commit = repository.add(files, branch)
        self.says(
            {
                "success": True,
                "commitOid": commit,
                "commitUrl": f"{self.server.url}/{name}/commit/{commit}",
                "hookOutput": "",
            }
        )


@pytest.fixture
def stub_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StubHub]:
    """The hub that HF_ENDPOINT names, and nobody's token."""
    huggingface_hub = hub.library()
    constants = importlib.import_module("huggingface_hub.constants")
    server = StubHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    home = tmp_path_factory.mktemp("hf-home")
    for name, value in {
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    huggingface_hub.close_session()
    hub._commit_of.cache_clear()
