"""The worker that the guide shows is the file that `make test-deploy` runs."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_guide_shows_the_worker_as_it_is() -> None:
    worker = (DOCS / "deploy" / "web" / "stylize-worker.mjs").read_text(encoding="utf-8")
    assert f"```js\n{worker}```" in (DOCS / "guides" / "web.md").read_text(encoding="utf-8")
