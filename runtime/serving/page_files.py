"""The files of the page by the names that they are served by."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from nstc.core import VERSION
from nstc.core.photos import sample_photos
from nstc.runtime.serving.guard import ServingLimits
from nstc.runtime.serving.served_models import ServedModel
from nstc.runtime.serving.web_app import Content

_WITHOUT_PAGE: Final = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>nstc</title>'
    b"<p>POST a photograph to <code>stylize?model=NAME</code>."
)
_PHOTOS: Final = ("astronaut", "chelsea", "coffee")


def page_content(models: Sequence[ServedModel], limits: ServingLimits) -> dict[str, Content]:
    """What is served by exact name: the page's files, sample photographs, and `site.json`."""
    folder = Path(str(resources.files("nstc.runtime.serving"))) / "page"
    content: dict[str, Content] = {"index.html": _WITHOUT_PAGE}
    if folder.is_dir():
        content |= {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    photos = {path.stem: path for path in sample_photos() if path.stem in _PHOTOS}
    content |= {f"photos/{path.name}": path for path in photos.values()}
    site: dict[str, Any] = {
        "schema": "nstc.site/1",
        "version": VERSION,
        "server": True,
        "photos": [{"name": name, "file": f"photos/{path.name}"} for name, path in photos.items()],
        "models": [
            {
                "name": model.name,
                "title": model.title,
                "server": list(model.precisions),
                "browser": [],
                "size_multiple": 1,
            }
            for model in models
        ],
        "runtime": None,
        "limits": {"bytes": limits.body_bytes, "pixels": limits.pixels},
    }
    return content | {"site.json": json.dumps(site).encode()}
