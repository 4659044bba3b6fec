"""A page to try models on: pip install . gradio, then python examples/gradio_demo.py."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nstc import Stylizer
from nstc.core.zoo import zoo_students

opened = lru_cache(maxsize=4)(Stylizer)  # each model is opened once


def stylized(
    photo: npt.NDArray[np.uint8] | None, model: str, strength: float, preserve_color: bool
) -> npt.NDArray[np.uint8] | None:
    """The stylised photograph (H, W, 3), or nothing where none was chosen."""
    if photo is None:
        return None
    return opened(model)(photo, strength=strength, preserve_color=preserve_color)


if __name__ == "__main__":
    import gradio

    model = gradio.Dropdown(list(zoo_students()), label="Model")
    strength = gradio.Slider(0, 1, value=1, label="Strength")
    made, color = gradio.Image(format="png"), gradio.Checkbox(label="Keep the photograph's colours")
    inputs = [gradio.Image(label="Photograph"), model, strength, color]
    gradio.Interface(stylized, inputs, made, title="nstc", analytics_enabled=False).launch()
