from nstc.benchmarks.needed_files import needed_files
from nstc.core.manifest import Origin


def test_they_are_references_teachers_and_what_is_run_itself(make_bundle, foreign_file):
    teacher = make_bundle("teacher", {"onnx": 0.5})
    origin = Origin(name="t", sha256=teacher.identity, path=str(teacher.path))
    student = make_bundle("student", {"int8.onnx": 1.0}, teacher=origin)
    bare = make_bundle("bare", {}, teacher=origin)
    reference = make_bundle("reference", {})
    paths = [str(student.path), str(bare.path)]

    def needed(models=paths, **options):
        options = {"against": reference.path, "targets": ["cpu:1", "mobile"], **options}
        return needed_files(models, **options)

    assert needed() == [
        (str(reference.path), "onnx"),
        (str(student.path), "int8.onnx"),
        (str(bare.path), "onnx"),
        (str(teacher.path), "onnx"),
    ]
    assert needed(artifacts=["int8"], quality=False) == [
        (str(reference.path), "onnx"),
        *((path, "int8.onnx") for path in paths),
    ]
    assert needed([], against=foreign_file) == []
