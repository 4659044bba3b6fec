"""An optimisation with label maps, region by region."""

from pathlib import Path

import numpy as np
import pytest

from nstc.core.errors import (
    OptionError,
)
from nstc.core.images.label_maps import LabelMap, write_label_map


@pytest.fixture
def halves(tmp_path):
    """Writes the map of a picture with one colour left and another right."""

    def write(name: str, height: int, width: int, colors=((0, 0, 0), (255, 0, 0))) -> Path:
        labels = np.zeros((height, width), np.uint8)
        labels[:, width // 2 :] = 1
        write_label_map(tmp_path / name, LabelMap(labels=labels, colors=colors))
        return tmp_path / name

    return write


def test_regions_are_compared(run, halves) -> None:
    maps = {"photo_mask": halves("p.png", 40, 48), "style_mask": halves("s.png", 56, 64)}
    plain, masked = run(steps=2), run("masked.png", steps=2, **maps)
    assert masked.trace[0]["style_loss"] != plain.trace[0]["style_loss"]
    named = run("named.png", steps=2, style_losses="semantic=1", **maps)
    assert (named.rgb == masked.rgb).all()


def test_what_is_refused(run, halves, pictures) -> None:
    photo, style = halves("p.png", 40, 48), halves("s.png", 56, 64)
    other = halves("other.png", 56, 64, ((0, 0, 0), (0, 0, 255)))
    wide = halves("wide.png", 20, 64)
    both = {"photo_mask": photo, "style_mask": style}
    two = {str(pictures / name): 1.0 for name in ("painting.png", "other.png")}
    for given, said in [
        ({"photo_mask": photo}, "one label map was given: expected both"),
        ({"style_mask": style}, "one label map was given: expected both"),
        ({**both, "style_mask": other}, "lacks #ff0000"),
        ({**both, "photo_mask": wide}, r"wide\.png is 64x20, the photograph is 48x40"),
        ({**both, "style_mask": wide}, r"wide\.png is 64x20, the painting is 64x56"),
        ({**both, "painting": two}, "2 paintings were given with label maps"),
        ({**both, "style_losses": "moments=1"}, "expected gram or semantic"),
        ({**both, "style_losses": "gram=1,semantic=1"}, "expected gram or semantic"),
        ({"style_losses": "semantic=1"}, "give --photo-mask and --style-mask"),
    ]:
        with pytest.raises(OptionError, match=said):
            run("none.png", **given)
    assert not list(photo.parent.glob("none*"))
