import pytest

from nstc.core import errors
from nstc.core.errors import NstcError


def tree_of_classes(kind, depth=0):
    found = {kind.__name__: (depth, kind.exit_code)}
    for child in kind.__subclasses__():
        if child.__module__.startswith("nstc."):
            found |= tree_of_classes(child, depth + 1)
    return found


def test_kinds_of_kinds():
    depths = {name: depth for name, (depth, _) in tree_of_classes(NstcError).items()}
    assert {name for name, depth in depths.items() if depth > 1} == {
        "DamagedVideoError",
        "CorruptBundleError",
        "SchemaVersionError",
        "ArtifactError",
        "UnsafeFileError",
        "CorruptBaselineError",
        "BaselineSchemaError",
    }


def test_no_two_errors_share_an_exit_code():
    codes = [code for _, code in tree_of_classes(NstcError).values()]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("name", tree_of_classes(NstcError))
def test_every_error_defines_a_code_that_a_process_can_exit_with(name):
    kind = getattr(errors, name)

    assert "exit_code" in vars(kind)  # its own, not its parent's
    assert 0 < kind.exit_code < 256
    assert kind.exit_code != 2  # the command line's own, for flags it does not know
    assert kind.__doc__


def test_the_codes_that_scripts_may_rely_on():
    assert {name: code for name, (_, code) in tree_of_classes(NstcError).items()} == {
        "NstcError": 1,
        "OptionError": 3,
        "RecipeError": 4,
        "MissingExtraError": 5,
        "ExtensionError": 6,
        "ImageError": 10,
        "PhotosError": 11,
        "BatchError": 12,
        "FetchError": 13,
        "VideoError": 14,
        "DamagedVideoError": 15,
        "DisplayError": 16,
        "AccessError": 17,
        "BundleError": 20,
        "CorruptBundleError": 21,
        "SchemaVersionError": 22,
        "ArtifactError": 23,
        "CheckpointError": 30,
        "UnsafeFileError": 31,
        "TeacherError": 32,
        "UnusableModelError": 33,
        "GraphLimitError": 36,
        "OutputError": 40,
        "ServeError": 41,
        "ClusterError": 42,
        "DivergedError": 50,
        "ExportMismatchError": 51,
        "MemoryCapError": 52,
        "TargetError": 53,
        "BudgetError": 54,
        "MemoryLimitError": 55,
        "NoGainError": 56,
        "BaselineError": 60,
        "CorruptBaselineError": 61,
        "BaselineSchemaError": 62,
        "Interrupted": 130,
    }


def test_every_error_is_one_that_the_command_line_catches():
    for name in tree_of_classes(NstcError):
        with pytest.raises(NstcError, match="what to do"):
            raise getattr(errors, name)("what to do")
