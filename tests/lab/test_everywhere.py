import sys
from types import ModuleType

import pytest
from lab import everywhere


def test_any_package_of_opencv_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("cv2")
    module.__version__ = "5.0.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", module)
    monkeypatch.setattr(everywhere.metadata, "version", lambda _: pytest.fail("asked of pip"))
    assert everywhere.version("opencv") == "OpenCV 5.0.0"
