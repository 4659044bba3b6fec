"""Jobs that workers on Ray find by name: they die, or wait until they are stopped."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from nstc.runtime.jobs import Driver


def dies(driver: Driver) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_once(mark: Path) -> Callable[[Driver], str]:
    def job(driver: Driver) -> str:
        if not mark.exists():
            mark.touch()
            dies(driver)
        driver.note("again")
        return "done"

    return job


def waits(begun: Path, ended: Path) -> Callable[[Driver], None]:
    def job(driver: Driver) -> None:
        begun.touch()
        try:
            while True:
                time.sleep(0.05)
        finally:
            ended.touch()

    return job
