"""ONNX Runtime on a machine that can be reached by ssh: a board, a laptop, a server."""

import ipaddress
import re
import shlex
import shutil
import tarfile
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.targets.base import TargetKind
from nstc.benchmarks.targets.remote import process, remote_target
from nstc.benchmarks.targets.remote.remote_target import PYTHON, THREADS, Outcome, RemoteJob
from nstc.core import Progress, files
from nstc.core.errors import OptionError, TargetError

_ADDRESS: Final = re.compile(
    r"//(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?(?:\?(?P<options>.*))?"
)
_OPTIONS: Final = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "RemoteCommand=none",
)
_NO_FOLDER, _NO_TAR, _NO_PYTHON, _NO_SSH = 91, 92, 93, 255

# Holds no single quote, so that every login shell hands it to sh as it is. The folder is removed in
# any case: when the connection breaks, the worker's next line fails, and it has a time limit too.
# The last line marks the end: ssh itself stays while anything there holds its output.
_REMOTE_COMMAND: Final = (
    "umask 077; "
    f'd=$(mktemp -d "${{TMPDIR:-/tmp}}/nstc.XXXXXX") || exit {_NO_FOLDER}; '
    'trap "cd /; rm -rf \\"$d\\"" EXIT; trap "exit 95" HUP INT TERM; '
    f'cd "$d" && tar -xf - || exit {_NO_TAR}; '
    f'command -v "$1" >/dev/null 2>&1 || exit {_NO_PYTHON}; '
    '"$1" remote_worker.py; s=$?; cd /; rm -rf "$d"; echo "{end} $s"; exit $s'
)


@dataclass(frozen=True, kw_only=True)
class SshTarget(remote_target.RemoteTarget):
    """Another machine; its name is as in ssh://pi@board:22?threads=2."""

    destination: str  # as ssh takes it: pi@board
    port: int | None  # None for ssh's default
    python: str  # the interpreter there

    def run(self, job: RemoteJob, progress: Progress) -> Outcome:
        """Send everything in one folder, time it there, and bring the answer back."""
        listener = remote_target.Listener(self.name, job, progress, self.python)
        with files.scratch_folder() as scratch:
            folder, archive = scratch / "job", scratch / "job.tar"
            job.write(folder)
            with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
                for path in sorted(folder.iterdir()):
                    tar.add(path, path.name, filter=_anonymous)
            shutil.rmtree(folder)
            end = f"nstc-{job.token}-end"
            options = [word for option in _OPTIONS for word in ("-o", option)]
            port = [] if self.port is None else ["-p", str(self.port)]
            script = shlex.quote(_REMOTE_COMMAND.replace("{end}", end))
            command = f"exec sh -c {script} sh {shlex.quote(self.python)}"
            finished = process.converse(
                ["ssh", "-T", *options, *port, "--", self.destination, command],
                name=self.name,
                limits=remote_target.limits(job.answer_bytes, sent_bytes=archive.stat().st_size),
                stdin=archive,
                on_line=listener.hear,
                end=end,
            )
        if finished.status != 0 and listener.error is None:
            reasons = {
                _NO_FOLDER: "there is no room for a folder there",
                _NO_TAR: "the files did not arrive, is the disk there full and tar installed",
                _NO_PYTHON: f"there is no {self.python} there, install it or give ?{PYTHON}=PATH",
                _NO_SSH: f"ssh failed, see that `ssh {self.destination}` works without a password",
            }
            other = f"it ended with status {finished.status}, is the memory there enough"
            said = f" ({finished.complaint})" if finished.complaint else ""
            raise TargetError(f"{self.name}: {reasons.get(finished.status, other)}{said}.")
        return listener.answer({"by": "ssh", "host": self.destination, "threads": self.threads})


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave this machine's users out of the archive."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o700 if entry.isdir() else 0o600
    return entry


def _ssh(argument: str | None) -> SshTarget:
    text = f"ssh:{argument or ''}"
    parsed = _ADDRESS.fullmatch(argument or "")
    if parsed is None:
        raise OptionError(
            f"no target {text!r}: expected ssh://USER@HOST:PORT?threads=N, where user and port may "
            "be left out; ssh's keys are used, never passwords."
        )
    port = None if parsed["port"] is None else int(parsed["port"])
    if port is not None and not 1 <= port <= 65535:
        raise OptionError(f"no target {text!r}: the port must be from 1 to 65535.")
    options = remote_target.parse_options(text, parsed["options"] or "", (THREADS, PYTHON))
    host = parsed["host"]
    if host.startswith("["):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise OptionError(f"no target {text!r}: [{host}] is not an IPv6 address.") from error
    return SshTarget(
        name=text,
        destination=host if parsed["user"] is None else f"{parsed['user']}@{host}",
        port=port,
        threads=int(options.get(THREADS, "1")),
        python=options.get(PYTHON, "python3"),
    )


SSH: Final = TargetKind(
    form="ssh://[USER@]HOST[:PORT]",
    summary="ONNX Runtime on a machine reached by ssh that has Python, one thread",
    make=_ssh,
    availability=lambda: None if shutil.which("ssh") else "there is no ssh on the PATH",
)
