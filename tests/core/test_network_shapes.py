import pytest

from nstc.core.decoding import DecodingError
from nstc.core.network_shapes import refuse_arguments

STUDENT = {"width": 48, "inner": [48] * 5, "block": "separable", "head": "separable"}


@pytest.mark.parametrize(
    "change",
    [
        {"width": 10**9},
        {"width": 0},
        {"width": True},
        {"width": "48"},
        {"inner": "abc"},
        {"inner": [48] * 65},
        {"inner": [0]},
        {"scale": 5},
        {"norm": "layer"},
        {"depth": 3},
    ],
)
def test_a_student_that_is_not_built(change) -> None:
    refuse_arguments("student", STUDENT)
    with pytest.raises(DecodingError, match=rf"^architecture.arguments: {next(iter(change))}"):
        refuse_arguments("student", {**STUDENT, **change})


@pytest.mark.parametrize("arguments", [{"down": [8, 8]}, {"up": [8] * 3}, {"inner": [10**9]}])
def test_a_transformer_that_is_not_built(arguments) -> None:
    refuse_arguments("transformer", {})
    with pytest.raises(DecodingError):
        refuse_arguments("transformer", arguments)


def test_an_architecture_of_the_future_has_arguments_of_its_own() -> None:
    refuse_arguments("mamba", {"state": 10**9})
