"""In place of adb. The device is a folder of this machine, its shell this machine's.

Plans: `state` instead of "device", with `complaint`. `hang` or `vanish` on the first command that
holds a word. `rubbish`: what the shell prints for a command that holds `rubbish_for`. `full`: push
fails.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PLAN = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))
HOME = "/data/local/tmp"
DEVICE = str(HERE / "device")
SERIALS = ("emulator-5554", "192.168.1.5:5555")


def main(words):
    with (HERE / "calls.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(words) + "\n")
    option, serial, verb, *rest = words
    if option != "-s" or serial not in SERIALS:
        return fail(f"adb: device '{serial}' not found")
    misbehave(" ".join(rest))
    if verb == "get-state":
        if "state" in PLAN:
            return fail(PLAN["complaint"])
        print("device")
        return 0
    if verb == "push":
        return push(*rest)
    if verb in ("shell", "exec-out"):
        return shell(" ".join(rest))
    return fail(f"adb: unknown command {verb}")


def misbehave(command):
    if "hang" in PLAN and PLAN["hang"] in command:
        time.sleep(600)
    if "vanish" in PLAN and PLAN["vanish"] in command:
        (HERE / "plan.json").write_text(json.dumps({"vanish": ""}), encoding="utf-8")
        sys.exit(fail("error: device offline"))


def push(source, target):
    if PLAN.get("full"):
        return fail("adb: error: failed to copy: No space left on device")
    into = pathlib.Path(target.replace(HOME, DEVICE))
    if not into.is_dir():
        return fail(f"adb: error: {target}: no such folder")
    shutil.copytree(source, into / pathlib.Path(source).name)
    print(f"{source}: 9 files pushed")
    return 0


def shell(command):
    if "rubbish" in PLAN and PLAN["rubbish_for"] in command:
        print(PLAN["rubbish"])
        return 0
    environment = {**os.environ, "PATH": f"{HERE}/tools{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        ["/bin/sh", "-c", command.replace(HOME, DEVICE)],
        stdout=subprocess.PIPE,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    sys.stdout.buffer.write(ran.stdout.replace(DEVICE.encode(), HOME.encode()))
    return ran.returncode


def fail(complaint):
    print(complaint, file=sys.stderr)
    return 1


sys.exit(main(sys.argv[1:]))
