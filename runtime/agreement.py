"""Whether the files of one bundle, which are one network in many forms, give the same pictures.

Each is held to the file that it was made of or computes the same as, on check pictures of several
sizes: a graph may be right at one size and wrong at another.
"""

import math
from collections.abc import Collection, Mapping
from typing import Final

from nstc.core.bundle import Bundle, artifact_file
from nstc.core.errors import ExportMismatchError
from nstc.core.images import Pixels
from nstc.core.portable_names import Portable, takes_bytes
from nstc.runtime import arrays
from nstc.runtime.arrays import CHECK_SEED, CHECK_SIZE, Difference, Transfer, check_picture
from nstc.runtime.session import Session

Size = tuple[int, int]  # height and width in pixels

# With every remainder by 4, the multiple that networks pad sides to, and sides above and below a
# receptive field.
SIZES: Final[tuple[Size, ...]] = (CHECK_SIZE, (64, 96), (70, 52), (131, 150))

_INT8: Final = "int8.onnx"
_FLOAT: Final = "onnx"
_ROUNDED: Final = ("int8.", "dynamic.", "weights-", "fp16.")  # beginnings: weights are not float32
# Of a quantized file to the float one on the check picture, whose colours are not those that it was
# calibrated on. Files of one network read 42 dB and more, those of another style up to 17 dB.
_ANOTHER_NETWORK_DB: Final = 20.0
# Of a file that has the integers of another and rounds in front of them differently: a byte is a
# patch behind some layers. Portable files with edges of floats read 50 dB and more.
_ROUNDED_AGAIN_DB: Final = 40.0


class CheckPictures:
    """What files of a bundle make of the check pictures, each made once.

    Runs raise as `Session.run`; a picture of another size is an `ExportMismatchError`.
    """

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session]) -> None:
        """Sessions of its files by the artifact's full name."""
        self._bundle = bundle
        self._sessions = sessions
        self._made: dict[tuple[str, Size], Pixels] = {}

    def sizes(self, artifact: str) -> tuple[Size, ...]:
        """`SIZES`, or the only one that the file takes."""
        fixed: Size | None = getattr(self._sessions[artifact], "fixed_size", None)
        return SIZES if fixed is None else (fixed,)

    def of(self, artifact: str, size: Size) -> Pixels:
        """(H, W, 3) uint8."""
        if (artifact, size) not in self._made:
            made = self._sessions[artifact].run(check_picture(CHECK_SEED, *size))
            if made.shape != (*size, 3):
                raise ExportMismatchError(
                    f"{artifact_file(artifact)} makes a picture of "
                    f"{'x'.join(map(str, made.shape[:2]))} of one of {size[0]}x{size[1]}: make it "
                    "again, or copy the bundle again."
                )
            self._made[artifact, size] = made
        return self._made[artifact, size]

    def agreement(self, artifact: str, network: Transfer | None = None) -> str | None:
        """How exactly a file gives the pictures that it must, in words; None if none are known.

        They are those of its counterpart among the opened files; of a file without one they are
        those of the bundle's `network`. `ExportMismatchError` if it gives others.
        """
        counterpart = counterpart_of(artifact, self._sessions)
        if counterpart is None and network is None:
            return None
        what = "the network of its weights" if counterpart is None else artifact_file(counterpart)
        worst, lowest = 0, math.inf
        for size in self.sizes(artifact):
            if counterpart is not None:
                expected = self.of(counterpart, size)
            elif network is not None:
                expected = network(check_picture(CHECK_SEED, *size))
            off = Difference.between(self.of(artifact, size), expected)
            if self._is_another(artifact, counterpart, off):
                raise ExportMismatchError(
                    f"{artifact_file(artifact)} gives another picture than {what} at "
                    f"{size[0]}x{size[1]}: {off.psnr_db:.1f} dB apart, the worst value by "
                    f"{off.worst}/255. One of the two is damaged or of another network: make it "
                    "again, or copy the bundle again."
                )
            worst, lowest = max(worst, off.worst), min(lowest, off.psnr_db)
        if worst == 0:
            return f"as {what}, bit for bit"
        if _is_rounded(artifact):
            return f"as {what} but for rounding, {lowest:.0f} dB apart"
        return f"as {what}, at most {worst}/255 off"

    def _is_another(self, artifact: str, counterpart: str | None, off: Difference) -> bool:
        """Whether pictures differ by more than two files of one network may."""
        if counterpart == _INT8:
            return differs_from_int8(self._bundle, artifact, off)
        if _is_rounded(artifact):
            return off.rms > arrays.rms_at(_ANOTHER_NETWORK_DB)
        return off.far_share > arrays.MOST_FAR_SHARE


def counterpart_of(artifact: str, held: Collection[str]) -> str | None:
    """The artifact, of those that are `held`, that a file must agree with; None if there is none.

    What is made of the int8 graph is held to that, and everything else to the float graph.
    """
    made_of_int8 = artifact.startswith("int8.") and artifact.endswith((".onnx", ".ort"))
    candidates = (_INT8, _FLOAT) if made_of_int8 and artifact != _INT8 else (_FLOAT,)
    return next((own for own in candidates if own in held and own != artifact), None)


def differs_from_int8(bundle: Bundle, artifact: str, off: Difference) -> bool:
    """Whether a picture of a file made of `model.int8.onnx` is too far off that file's own.

    What is integer from end to end has the same bytes; a portable file with edges of floats rounds
    the statistics anew; and another has layers in float.
    """
    if is_integer(bundle, artifact):
        return off.worst > 0
    portable = Portable.called(artifact)
    if portable is not None and portable.edges == "float":
        return off.rms > arrays.rms_at(_ROUNDED_AGAIN_DB)
    return off.far_share > arrays.MOST_FAR_SHARE


def is_integer(bundle: Bundle, artifact: str) -> bool:
    """Whether a file is integer from end to end, so that it gives the same bytes everywhere.

    Instance normalisation is float, and so are layers that quantizing left or gave 16 bits; what
    takes floats computes the picture's statistics in float32.
    """
    reports = [own.results for own in bundle.manifest.history if own.verb == "quantize"]
    own_int8 = [own for own in reports if own.get("artifact") == _INT8]
    left = [own.get("islands") or own.get("wide") for own in own_int8]
    is_int8 = artifact.startswith("int8.") and artifact.endswith(".onnx")
    return (
        is_int8
        and takes_bytes(artifact)
        and not any(left[-1:])
        and bundle.manifest.contract.locality == "exact"
    )


def _is_rounded(artifact: str) -> bool:
    return artifact.startswith(_ROUNDED)
