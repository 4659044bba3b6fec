"""The benchmark and the gate for who may export: a model's file that is missing is made first."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from nstc.benchmarks import bench as benchmark
from nstc.benchmarks.gate import check_models
from nstc.compress.export.export_model import made_artifact

_Options = ParamSpec("_Options")
_Result = TypeVar("_Result")


def _making_files(verb: Callable[_Options, _Result]) -> Callable[_Options, _Result]:
    """The verb with a store that makes what is missing, in the user's cache."""

    @functools.wraps(verb)
    def making(*arguments: _Options.args, **options: _Options.kwargs) -> _Result:
        options.setdefault("store", made_artifact)
        return verb(*arguments, **options)

    making.__module__ = __name__  # where Python finds it
    return making


bench = _making_files(benchmark.bench)
check = _making_files(check_models.check)
