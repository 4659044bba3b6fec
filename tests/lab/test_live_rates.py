import pytest
from lab.live_rates import LiveRate, live_rates, table

from nstc.runtime.serving.web_runtime import web_runtime

USERS_RUNTIME = web_runtime()  # looked up before tests get a cache of their own


def test_the_table_has_medians_for_each_engine():
    server = LiveRate(engine="server", where="int8", rates=[9, 31, 30], milliseconds=[7, 6.5, 20])
    device = LiveRate(
        engine="device",
        where="int8 · WebAssembly, 1 thread",
        rates=[9.5, 9.5],
        milliseconds=[98, 100],
    )

    assert table([server, device], threads=2).splitlines()[2:] == [
        "| server | int8 · ONNX Runtime, 2 threads | 30 | 7 |",
        "| this device | int8 · WebAssembly, 1 thread | 9.5 | 99 |",
    ]


@pytest.mark.web
def test_both_engines_are_measured_on_the_page(tmp_path, monkeypatch):
    if not USERS_RUNTIME.is_complete:
        pytest.skip("not run: onnxruntime-web is not installed: run nstc web-setup")
    (tmp_path / "web").symlink_to(USERS_RUNTIME.folder.parent)
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path))

    server, device = live_rates(size=192, seconds=0.5, warm_up=0, threads=1)

    assert (server.engine, server.where, device.engine) == ("server", "int8", "device")
    assert device.where.startswith("int8 · WebAssembly, ")
    for own in (server, device):
        assert len(own.rates) == len(own.milliseconds) > 0
        assert min(*own.rates, *own.milliseconds) > 0
