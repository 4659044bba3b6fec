from nstc.benchmarks.result import SCHEMA, migrated


def test_the_first_schemas_one_reference_becomes_a_list():
    old = {"schema": "nstc.bench/1", "reference": {"model": "t"}, "rows": [1]}
    assert migrated(old) == {"schema": SCHEMA, "references": [{"model": "t"}], "rows": [1]}
    assert "reference" in old


def test_the_newest_is_left_alone():
    assert migrated({"schema": SCHEMA, "rows": []}) == {"schema": SCHEMA, "rows": []}


def test_what_is_missing_stays_missing():
    assert migrated({"schema": "nstc.bench/1"}) == {"schema": SCHEMA, "references": []}
