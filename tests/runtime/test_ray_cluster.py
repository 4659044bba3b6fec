"""Addresses of Ray, and how a cluster is divided, without Ray; tests/end_to_end starts it."""

import sys
from types import SimpleNamespace

import pytest

from nstc.core.errors import ClusterError, OptionError
from nstc.runtime.ray_cluster import (
    connected_ray,
    granted_threads,
    is_ray_address,
    most_workers,
    worker_processors,
)


def test_addresses_are_known_by_their_form() -> None:
    assert all(map(is_ray_address, ["local", "auto", "ray://head:10001", "10.0.0.1:6379"]))
    others = ["", "photos", "photos/a:1", "head", "ray://head", "http://head:80", "a.jpg", ":1"]
    assert not any(map(is_ray_address, others))


def test_another_word_is_refused() -> None:
    with pytest.raises(OptionError, match="ray is head: expected ray://HOST:10001"):
        connected_ray("head").__enter__()


def test_without_ray(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        connected_ray("local").__enter__()
    assert raised.value.name == "ray"


@pytest.mark.parametrize(
    ("machines", "threads", "workers"),
    [
        ([2], 1, 2),
        ([8, 8], 1, 16),
        ([16], 4, 3),
        ([17], 4, 4),
        ([8, 8, 0], 4, 3),
        ([6, 6, 6], 4, 3),  # not the four that eighteen processors of one machine had room for
        ([16, 2, 2], 4, 4),
        ([2], 2, 1),
        ([1], 1, 1),
        ([0], 1, 1),
        ([], 1, 1),
    ],
)
def test_workers_fit_on_machines_and_leave_room_for_rays_own_tasks(
    machines, threads, workers
) -> None:
    assert most_workers(machines, threads) == workers
    asked = workers * worker_processors(threads)
    assert asked < sum(machines) or sum(machines) <= threads


@pytest.mark.parametrize(("granted", "threads"), [(0.9, 1), (1, 1), (4.0, 4), (1.5, 2)])
def test_threads_are_what_ray_granted(granted, threads) -> None:
    context = SimpleNamespace(get_assigned_resources=lambda: {"CPU": granted, "memory": 1})
    assert granted_threads(SimpleNamespace(get_runtime_context=lambda: context)) == threads


class TestTheStart:
    @pytest.fixture
    def ray(self, monkeypatch):
        """A Ray that fails to start as often as it is told."""
        made = SimpleNamespace(inits=[], failures=0, is_initialized=lambda: False)

        def init(address, **_how) -> None:
            made.inits.append(address)
            if len(made.inits) <= made.failures:
                raise RuntimeError("The node timed out.\nSee its log.")

        made.init, made.shutdown = init, lambda: None
        monkeypatch.setitem(sys.modules, "ray", made)
        return made

    def test_a_busy_machine_may_need_another(self, ray) -> None:
        ray.failures = 2
        with connected_ray("local") as given:
            assert given is ray
        assert ray.inits == ["local"] * 3

    def test_one_that_never_succeeds_is_one_line(self, ray) -> None:
        ray.failures = 3
        with pytest.raises(ClusterError) as raised:
            connected_ray("local").__enter__()
        assert str(raised.value) == (
            "Ray does not start on this machine: The node timed out. See its log."
        )
