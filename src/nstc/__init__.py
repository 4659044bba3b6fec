"""nstc, the neural style transfer compressor.

Every name here is loaded when it is first used, so that `import nstc` stays light. Each verb takes
a bundle and gives a bundle. `nstc compress` is `compress_model`: `nstc.compress` is a package.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

from nstc.core import VERSION

if TYPE_CHECKING:
    from nstc.compress.distillation.distill_model import distill
    from nstc.compress.distillation.share_weights import share
    from nstc.compress.export.export_model import check, export
    from nstc.compress.importing.import_model import import_checkpoint
    from nstc.compress.optimization.optimize_picture import optimize
    from nstc.compress.optimization.optimized_photos import bench
    from nstc.compress.optimization.segmentation import mask
    from nstc.compress.pipeline import compress_model
    from nstc.compress.predicting.train_any import train_any
    from nstc.compress.pruning.analysis import analyze
    from nstc.compress.pruning.prune_model import prune
    from nstc.compress.publishing.push_bundle import push
    from nstc.compress.quantization.compare_files import compare
    from nstc.compress.quantization.quantize_model import quantize
    from nstc.compress.restyling.catalogue import build_zoo
    from nstc.compress.restyling.restyle_painting import restyle
    from nstc.compress.searching.search_students import search
    from nstc.compress.training.train_model import train
    from nstc.core.bundle import Bundle, open_bundle
    from nstc.core.errors import NstcError
    from nstc.core.photos import photos_in
    from nstc.models.architectures import load
    from nstc.runtime.stylizer import Stylizer

# ONNX Runtime 1.32 and later report to their makers unless this is set before they are loaded.
# Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__: Final = VERSION

__all__ = [
    "Bundle",
    "NstcError",
    "Stylizer",
    "__version__",
    "analyze",
    "bench",
    "build_zoo",
    "check",
    "compare",
    "compress_model",
    "distill",
    "export",
    "import_checkpoint",
    "load",
    "mask",
    "open_bundle",
    "optimize",
    "photos_in",
    "prune",
    "push",
    "quantize",
    "restyle",
    "search",
    "share",
    "train",
    "train_any",
]

_HOMES: Final = {
    "Bundle": "nstc.core.bundle",
    "NstcError": "nstc.core.errors",
    "Stylizer": "nstc.runtime.stylizer",
    "analyze": "nstc.compress.pruning.analysis",
    "bench": "nstc.compress.optimization.optimized_photos",
    "build_zoo": "nstc.compress.restyling.catalogue",
    "check": "nstc.compress.export.export_model",
    "compare": "nstc.compress.quantization.compare_files",
    "compress_model": "nstc.compress.pipeline",
    "distill": "nstc.compress.distillation.distill_model",
    "export": "nstc.compress.export.export_model",
    "import_checkpoint": "nstc.compress.importing.import_model",
    "load": "nstc.models.architectures",
    "mask": "nstc.compress.optimization.segmentation",
    "open_bundle": "nstc.core.bundle",
    "optimize": "nstc.compress.optimization.optimize_picture",
    "photos_in": "nstc.core.photos",
    "prune": "nstc.compress.pruning.prune_model",
    "push": "nstc.compress.publishing.push_bundle",
    "quantize": "nstc.compress.quantization.quantize_model",
    "restyle": "nstc.compress.restyling.restyle_painting",
    "search": "nstc.compress.searching.search_students",
    "share": "nstc.compress.distillation.share_weights",
    "train": "nstc.compress.training.train_model",
    "train_any": "nstc.compress.predicting.train_any",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
