import sys
from pathlib import Path
from types import ModuleType

import pytest
from lab import everywhere

from nstc.core.files import cache_folder


def test_any_package_of_opencv_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("cv2")
    module.__version__ = "5.0.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", module)
    monkeypatch.setattr(everywhere.metadata, "version", lambda _: pytest.fail("asked of pip"))
    assert everywhere.version("opencv") == "OpenCV 5.0.0"


def test_files_of_the_users_cache_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be of an older converter."""
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path))
    used: list[Path] = []
    monkeypatch.setattr(everywhere, "missing", lambda _: used.append(cache_folder("any")) or "no")
    assert everywhere.main() == 1
    assert used
    assert not any(folder.is_relative_to(tmp_path) for folder in used)
