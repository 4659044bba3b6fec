"""Archives on a real Ray: a cluster of two nodes for all tests, and a server of S3 on loopback."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import ClusterError
from nstc.runtime.ray_cluster import connected_ray

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]

COUNT, BROKEN = 500, 20
FAST = ("-m", "zoo:starry-night/fast")
PATIENCE_S = 900  # of a busy machine


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """The address of moto's server of S3."""
    port = free_port()
    program = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: answers(port), "the server of S3")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def asked(address: str, method: str, content: bytes | None = None) -> None:
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(address, content, plain, method=method)  # noqa: S310
    urllib.request.urlopen(request).close()  # noqa: S310


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A server that has a bucket; everybody finds it by the environment."""
    with pytest.MonkeyPatch.context() as patch, moto() as address:
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        asked(f"{address}/bucket", "PUT")
        yield address


@pytest.fixture(scope="module")
def strict_s3() -> Iterator[dict[str, str]]:
    """The environment of somebody who may list a bucket of 30 pictures, and read only results."""
    with moto() as address:
        import boto3

        usual = {"endpoint_url": address, "region_name": "us-east-1"}
        usual |= {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        store, rights = (boto3.client(name, **usual) for name in ("s3", "iam"))
        store.create_bucket(Bucket="closed")
        for number in range(30):
            store.put_object(Bucket="closed", Key=f"in/{number}.png", Body=b"a picture")
        rights.create_user(UserName="guest")
        key = rights.create_access_key(UserName="guest")["AccessKey"]
        allowed = [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"},
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::closed/out/*"},
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        rights.put_user_policy(UserName="guest", PolicyName="list", PolicyDocument=policy)
        asked(f"{address}/moto-api/reset-auth", "POST", b"0")  # from now on it asks who they are
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def cluster(s3_server) -> Iterator[SimpleNamespace]:
    """Two nodes of one processor each, so that each has one worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        port = free_port()
        common = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
        nodes = Cluster(
            initialize_head=True, head_node_args={**common, "ray_client_server_port": port}
        )
        nodes.add_node(**common)
        yield SimpleNamespace(
            address=nodes.address,
            client=f"ray://127.0.0.1:{port}",
            raylets={
                node.all_processes["raylet"][0].process.pid for node in nodes.list_all_nodes()
            },
        )
        nodes.shutdown()


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nstc", "stylize", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int) -> str:
    """Standard error of a program that ended as it should."""
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, told
    assert "Traceback" not in told
    return told


def painters(cluster: SimpleNamespace) -> list[int]:
    """Processes of this cluster that stylise."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
            if b"Painter" in command:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found += [int(entry.name)] if parent in cluster.raylets else []
        except OSError:  # it ended meanwhile
            continue
    return found


@pytest.fixture
def photographs(tmp_path, monkeypatch) -> set[str]:
    """500 small pictures in `in`, of four formats; gives the names of the 20 broken ones."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    broken = set(rng.choice(COUNT, BROKEN, replace=False).tolist())
    names = set()
    for index in range(COUNT):
        path = Path(f"in/{index % 7}/{index:04}.{('jpg', 'png', 'webp', 'tif')[index % 4]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
        if index in broken:
            content = path.read_bytes()
            path.write_bytes((content[: len(content) // 2], b"", b"text", bytes(99))[index % 4])
            names.add(str(path))
    return names


def files_in(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def rows_in(report: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(report).read_text(encoding="utf-8").splitlines()]


def is_whole(out: str, broken: set[str]) -> list[dict[str, object]]:
    """Whether every picture of `in` has one row, and every good one a result; gives the rows."""
    rows = rows_in("report.jsonl")
    assert len(rows) == len({row["path"] for row in rows}) == COUNT
    assert {row["path"] for row in rows if row["outcome"] == "failed"} == broken
    assert all(row["error"] for row in rows if row["outcome"] == "failed")
    assert len(files_in(out)) == COUNT - BROKEN  # and no draft
    return rows


def test_nothing_is_lost_or_doubled_when_worker_and_driver_are_killed(cluster, photographs) -> None:
    on_ray = (*FAST, "--ray", cluster.address, "--report", "report.jsonl")
    running = started("in", "-o", "one", *on_ray)
    until(lambda: running.poll() is not None or len(files_in("one")) > 60, "the first results")
    os.kill(painters(cluster)[0], signal.SIGKILL)
    assert len(files_in("one")) < COUNT - BROKEN  # so that it was killed in the middle
    told = ended(running, 12)
    assert "on 2 processors" in told
    assert "the 2 machines must all reach the output folder" in told
    assert re.search(r"\d+ done, \d+ skipped, 20 failed", told)
    is_whole("one", photographs)

    Path("report.jsonl").unlink()
    running = started("in", "-o", "two", *on_ray)
    until(lambda: running.poll() is not None or len(files_in("two")) > 60, "the first results")
    running.kill()
    running.communicate()
    until(lambda: not painters(cluster), "the end of the workers of a killed driver")
    before = len(files_in("two"))
    assert not Path("report.jsonl").exists()
    ended(started("in", "-o", "two", *on_ray), 12)
    rows = is_whole("two", photographs)
    assert sum(row["outcome"] == "skipped" for row in rows) >= before - 2  # of which drafts

    ended(started("in", "-o", "plain", *FAST, "--threads", "1"), 12)
    assert files_in("plain") == files_in("one") == files_in("two")
    again = ended(started("in", "-o", "two", *FAST, "--skip-existing"), 12)
    assert "0 done, 480 skipped, 20 failed" in again


class TestSmallArchives:
    @pytest.fixture(autouse=True)
    def folder(self, save_picture, pixels, tmp_path, monkeypatch) -> None:
        """Three photographs, of which one is broken."""
        monkeypatch.chdir(tmp_path)
        save_picture(pixels, "in/a.png")
        save_picture(pixels[:20], "in/sub/b.png")
        Path("in/bad.png").write_bytes(b"no picture")

    def test_a_local_ray_with_a_parquet_list_and_report(self, bundle) -> None:
        import pyarrow
        from pyarrow import parquet

        names = ["a.png", "sub/b.png", "bad.png"]
        parquet.write_table(pyarrow.table({"path": names}), "in/list.parquet")
        call = ("in/list.parquet", "-o", "out", "-m", bundle.path, "--report", "report.parquet")
        told = ended(started(*call, "--ray"), 12)
        assert "2 done, 0 skipped, 1 failed" in told
        rows = parquet.read_table("report.parquet").to_pylist()
        assert {row["path"]: (row["outcome"], row["output"]) for row in rows} == {
            "in/a.png": ("done", "out/a.png"),
            "in/sub/b.png": ("done", "out/sub/b.png"),
            "in/bad.png": ("failed", "out/bad.png"),
        }
        ended(started("in", "-o", "plain", "-m", bundle.path), 12)
        assert files_in("out") == files_in("plain")

    def test_a_client_outside_of_the_cluster(self, cluster, bundle) -> None:
        call = ("in", "-o", "out", "-m", bundle.path, "--ray", cluster.client)
        assert "2 done, 0 skipped, 1 failed" in ended(started(*call), 12)
        assert sorted(files_in("out")) == ["a.png", "sub/b.png"]

    def test_from_s3_to_s3_and_once_more(self, cluster, bundle) -> None:
        import fsspec

        store = fsspec.filesystem("s3")
        store.put("in/", "bucket/in/", recursive=True)
        store.pipe_file("bucket/in/list.txt", b"a.png\nsub/b.png\nbad.png\n")
        for given, out in [("s3://bucket/in", "one"), ("s3://bucket/in/list.txt", "two")]:
            call = (given, "-o", f"s3://bucket/{out}", "-m", bundle.path)
            call += ("--ray", cluster.address)
            assert "2 done, 0 skipped, 1 failed" in ended(started(*call), 12)
            store.get(f"bucket/{out}/", f"{out}/", recursive=True)
        assert "0 done, 2 skipped, 1 failed" in ended(started(*call), 12)
        ended(started("in", "-o", "plain", "-m", bundle.path), 12)
        assert files_in("one") == files_in("two") == files_in("plain")

    def test_a_bucket_that_is_not_there_ends_it(self, cluster, bundle) -> None:
        call = ("in", "-o", "s3://nowhere/out", "-m", bundle.path, "--ray", cluster.address)
        told = ended(started(*call), 40)
        assert told.splitlines()[-1].startswith("nstc: cannot write s3://nowhere/out/")
        told = ended(started("s3://nowhere/in", *call[1:]), 13)
        assert told.startswith("nstc: s3://nowhere/in can't be listed: there is no such object")


class TestWithoutRights:
    """A store that knows its users ends a run by one line, on a Ray of this machine."""

    @pytest.fixture
    def only_line(self, tmp_path, monkeypatch, strict_s3):
        """The one line by which a run with a list of 30 pictures, or with a file, ends."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        lines = "".join(f"s3://closed/in/{number}.png\n" for number in range(30))
        Path("list.txt").write_text(lines, encoding="utf-8")

        def run(given: str, out: str, **environment: str) -> str:
            call = (given, "-o", out, *FAST, "--ray", "--workers", "2", "--report", "report.jsonl")
            told = ended(started(*call, **{**strict_s3, **environment}), 17)
            assert not Path("out").exists()
            assert not Path("report.jsonl").exists()
            (line,) = (own for own in told.splitlines() if not own.startswith("Ray: 2 workers"))
            return line

        return run

    def test_pictures_that_may_not_be_read(self, only_line) -> None:
        line = only_line("s3://closed/in", "out")
        assert re.match(r"nstc: s3://closed/in/\d+\.png can't be read: access is denied \(", line)
        assert line.endswith("s3://closed gave none of the 30 pictures that were asked for.")
        assert "the right to read objects (s3:GetObject)" in line

    def test_a_place_that_may_not_be_written(self, only_line, save_picture, pixels) -> None:
        save_picture(pixels, "a.png")
        line = only_line("a.png", "s3://closed/out")
        assert line.startswith("nstc: cannot write s3://closed/out/a.png: access is denied (")
        assert "the right to write objects (s3:PutObject)" in line

    def test_a_bucket_that_may_not_even_be_asked(self, only_line) -> None:
        key = {"AWS_ACCESS_KEY_ID": "stranger"}
        line = only_line("s3://closed/in", "out", **key)
        assert line.startswith("nstc: s3://closed/in can't be listed: the store does not accept")
        line = only_line("list.txt", "out", **key)
        assert re.match(r"nstc: s3://closed/in/\d+\.png can't be read: the store does not", line)

    def test_no_credentials(self, only_line, tmp_path) -> None:
        nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
        line = only_line("s3://closed/in", "out", **nobody)
        assert re.match(r"nstc: s3://closed/in can't be listed: \S+ has no credentials", line)
        line = only_line("list.txt", "out", **nobody)
        assert re.match(r"nstc: s3://closed/in/\d+\.png can't be read: \S+ has no creden", line)


def test_an_address_that_refuses() -> None:
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at ray://127\.0\.0\.1:1: "):
        connected_ray("ray://127.0.0.1:1").__enter__()


def test_an_address_that_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"ray://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(
            ClusterError, match=r"it took longer than 8 s\. Start it, or give --ray"
        ):
            connected_ray(address, answer_s=8).__enter__()
