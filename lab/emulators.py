"""Set up what `make test-emulated` runs under QEMU: `python -m lab.emulators [FOLDER]`.

FOLDER/arm64 becomes a small Debian of arm64 with Python, and ONNX Runtime and NumPy of the versions
that this environment has. apt resolves and downloads into folders of its own, the packages are
unpacked and never configured: nothing of this machine changes, and no root is needed. An x86
machine runs its own environment as an older processor and needs no tree. Network is needed once.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RELEASE, PYTHON = "bookworm", "3.11"
"""A Debian and its Python, for which ONNX Runtime has wheels."""

PACKAGES = (f"python{PYTHON}", "libstdc++6")
WHEELS = ("onnxruntime", "numpy")
PROGRAMS = ("apt-get", "dpkg-deb", "qemu-x86_64-static", "qemu-aarch64-static")
STAMP = "versions.txt"

PROCESSOR = """processor\t: 0
BogoMIPS\t: 100.00
Features\t: fp asimd aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 0

"""
"""What Linux says of one Cortex-A76. ONNX Runtime reads it, and crashes on this machine's own."""

_APT = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
"""


def main() -> None:
    """Set up, unless it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/emulators"))
    parser.add_argument("--mirror", default=MIRROR, help="of Debian")
    arguments = parser.parse_args()
    refuse_missing_programs()
    tree = arguments.folder.resolve() / "arm64"
    wanted = f"{arguments.mirror} {RELEASE} {' '.join((*PACKAGES, *pinned_wheels()))}\n"
    stamp = tree / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        print(f"{tree} is there")
        return
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="making-") as folder:
        made = Path(folder) / "arm64"
        unpack_debian(Path(folder) / "apt", made, arguments.mirror)
        install_wheels(made / "site")
        describe_processor(made)
        (made / STAMP).write_text(wanted, encoding="utf-8")
        shutil.rmtree(tree, ignore_errors=True)
        made.rename(tree)
    print(f"made {tree}")


def refuse_missing_programs() -> None:
    """End with what to install, if something is missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [] if KEYRING.exists() else [str(KEYRING)]
    if missing:
        sys.exit(
            f"{', '.join(missing)} not found: on Debian or Ubuntu, "
            "`apt-get install qemu-user-static debian-archive-keyring`."
        )


def pinned_wheels() -> list[str]:
    """The wheels in the versions of this environment, so that only the processor differs."""
    return [f"{name}=={version(name)}" for name in WHEELS]


def unpack_debian(apt: Path, tree: Path, mirror: str) -> None:
    """Download packages and what they depend on, and unpack them into a tree.

    Args:
        apt: A new folder for apt's configuration, lists and downloads.
        tree: A new folder for the files.
        mirror: Where from.
    """
    for folder in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial", tree):
        folder.mkdir(parents=True)
    (apt / "status").touch()  # nothing is installed there yet
    source = f"deb [arch=arm64 signed-by={KEYRING}] {mirror} {RELEASE} main\n"
    (apt / "sources.list").write_text(source, encoding="utf-8")
    settings = apt / "apt.conf"
    settings.write_text(_APT.format(folder=apt), encoding="utf-8")
    environment = os.environ | {"APT_CONFIG": str(settings)}
    download = ["apt-get", "install", "--yes", "--quiet", "--download-only", *PACKAGES]
    for command in (["apt-get", "update", "--quiet"], download):
        subprocess.run(command, check=True, env=environment)  # noqa: S603  (this file's words)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        # What apt has just fetched and checked by Debian's keys.
        subprocess.run(["dpkg-deb", "--extract", package, tree], check=True)  # noqa: S603, S607


def install_wheels(folder: Path) -> None:
    """Put the wheels for arm64, with what they depend on, into a folder."""
    tags = ("2014", "_2_17", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    command += [f"--platform=manylinux{tag}_aarch64" for tag in tags]
    command += [f"--python-version={PYTHON}", f"--target={folder}", *pinned_wheels()]
    subprocess.run(command, check=True)  # noqa: S603  (this Python and pip)


def describe_processor(tree: Path) -> None:
    """Put what the kernel would say of an Arm into a tree: QEMU reads files there first."""
    files = {
        "proc/cpuinfo": PROCESSOR,
        "sys/devices/system/cpu/possible": "0\n",
        "sys/devices/system/cpu/present": "0\n",
    }
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
