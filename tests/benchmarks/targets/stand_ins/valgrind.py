"""In place of Valgrind: writes what callgrind and the counting process would, and runs nothing.

`plan.json` beside it says how many instructions a run takes, by the name of the folder that it is
started in, and how it fails.
"""

import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


def main(words):
    plan = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))
    with (HERE / "calls.jsonl").open("a") as log:
        log.write(json.dumps({"words": words, "environment": dict(os.environ)}) + "\n")
    option = next(own for own in words if own.startswith("--callgrind-out-file="))
    pattern = option.partition("=")[2]
    pathlib.Path("valgrind.log").write_text(plan.get("log", ""), encoding="utf-8")
    (HERE / "process").write_text(str(os.getpid()))
    if plan.get("waits"):
        time.sleep(60)
    if "errors" in plan:
        sys.stderr.write(plan["errors"])
        return plan.get("status", 1)
    job = json.loads(pathlib.Path("../job.json").read_text())
    place = pathlib.Path().resolve().name
    a_run = plan.get("a_run", {}).get(place, 57_000_000)
    results, process = [], 100
    counted = job["pictures"] * a_run
    lines = ["events: Ir", "fn=0x2b67", f"0 {counted}", "cfn=run", "calls=1 0", f"0 {counted}"]
    lines.append(f"totals: {counted}")
    for _graph in job["graphs"]:
        process += 1
        file = pathlib.Path(pattern.replace("%p", str(process)))
        file.write_text("\n".join(lines[: plan.get("lines", 7)]) + "\n")
        operators = {"Conv": 4} if job["uncounted"] else {}
        results.append({"process": process, "operators": operators})
    pathlib.Path(pattern.replace("%p", "99")).write_text("totals: 0\n")  # of the process itself
    answer = plan.get("answer", json.dumps(results))
    pathlib.Path("counted.json").write_text(answer, encoding="utf-8")
    return 0


sys.exit(main(sys.argv[1:]))
