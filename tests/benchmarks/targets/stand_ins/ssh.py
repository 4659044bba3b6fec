"""In place of ssh. The far machine is this one: its commands run here, unless the plan says else.

Plans: `say` gives lines instead of running anything, with {token} for the job's; then `status` and
`complaint`. `hang`: say them and stay. `cut_after`: run the command and drop the line after so many
of its lines. `banner`: what a login prints before and after.
"""

import io
import json
import pathlib
import subprocess
import sys
import tarfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PLAN = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))
TAKES_A_VALUE = ("-o", "-p", "-l", "-F", "-i")


def split(words):
    """Options, destination and command, as OpenSSH's getopt takes them."""
    options = []
    while words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        options.append(option)
        if option in TAKES_A_VALUE:
            options.append(words.pop(0))
    return options, words[0], " ".join(words[1:])


def main():
    with (HERE / "calls.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    _, _, command = split(sys.argv[1:])
    if "say" in PLAN:
        return speak()
    print(PLAN.get("banner", ""), flush=True)
    far = subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE)
    for number, line in enumerate(far.stdout):
        if number == PLAN.get("cut_after"):
            far.stdout.close()
            far.wait()
            print("client_loop: send disconnect: Broken pipe", file=sys.stderr)
            return 255
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    print(PLAN.get("banner", ""), flush=True)
    return far.wait()


def speak():
    sent = sys.stdin.buffer.read()
    token = "none"
    if sent:
        with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
            token = json.load(tar.extractfile("job.json"))["token"]
    for line in PLAN["say"]:
        print(line.replace("{token}", token), flush=True)
    if PLAN.get("hang"):
        time.sleep(600)
    print(PLAN.get("complaint", ""), file=sys.stderr)
    return PLAN.get("status", 0)


sys.exit(main())
