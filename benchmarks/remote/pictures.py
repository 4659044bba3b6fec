"""Whether a far machine made the same picture: a fast wrong answer is worth nothing."""

from nstc.core.errors import TargetError
from nstc.core.images import Pixels
from nstc.runtime.agreement import FAR_MACHINE_LEVELS, Difference


def refuse_other_picture(name: str, file: str, far: Pixels, here: Pixels) -> None:
    """Hold the picture from a far machine to the one that the same file makes here.

    Args:
        name: Of the target, for messages.
        file: The model's, likewise.
        far: (H, W, 3) uint8 from there.
        here: The same from this machine.

    Raises:
        TargetError: they differ by more than `FAR_MACHINE_LEVELS`.
    """
    found = Difference.between(far, here).rms
    if found > FAR_MACHINE_LEVELS:
        raise TargetError(
            f"{name}: {file} makes another picture there than here, {found:.1f} of 255 levels away "
            f"where {FAR_MACHINE_LEVELS} is allowed, so its time counts for nothing. An int8 file "
            "must be made with reduced range to be portable: nstc quantize does."
        )
