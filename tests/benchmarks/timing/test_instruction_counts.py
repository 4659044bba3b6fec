from nstc.benchmarks.timing.instruction_counts import InstructionCount

BEFORE = InstructionCount(
    per_picture=1_000_000,
    functions={"without a name": 900_000, "memcpy": 90_000, "exp": 2_000},
    operators={"QLinearConv": 12, "Clip": 1, "Pad": 2},
)


def test_operators_and_functions_that_changed_are_told_the_largest_first():
    now = InstructionCount(
        per_picture=1_100_000,
        functions={"without a name": 950_000, "memcpy": 140_500, "tanh": 5_000, "exp": 2_900},
        operators={"QLinearConv": 12, "Clip": 4, "Cast": 1},
    )
    assert now.changes_since(BEFORE) == (
        "operators: Clip 1 to 4, Pad 2 to 0, Cast 0 to 1; "
        "functions: memcpy +50,500, without a name +50,000, tanh +5,000"
    )


def test_only_the_three_largest_changes_are_told():
    now = InstructionCount(
        per_picture=1_000_000, functions=BEFORE.functions, operators={"A": 1, "B": 2, "C": 3}
    )
    assert now.changes_since(BEFORE) == "operators: QLinearConv 12 to 0, C 0 to 3, B 0 to 2"


def test_a_thousandth_is_not_told():
    functions = {**BEFORE.functions, "memcpy": 90_999}
    now = InstructionCount(per_picture=1_000_999, functions=functions, operators=BEFORE.operators)
    assert now.changes_since(BEFORE) == ""
