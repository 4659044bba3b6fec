from pathlib import Path

import platformdirs

from nstc.core.cache import cache_folder


def test_the_variable_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "elsewhere"))

    assert cache_folder("graphs") == tmp_path / "elsewhere" / "graphs"
    assert not (tmp_path / "elsewhere").exists()  # asking makes nothing


def test_without_it_the_users_cache_is_used(monkeypatch):
    for nothing in (None, ""):
        if nothing is None:
            monkeypatch.delenv("NSTC_CACHE")
        else:
            monkeypatch.setenv("NSTC_CACHE", nothing)

        assert cache_folder("graphs") == Path(platformdirs.user_cache_dir("nstc")) / "graphs"
