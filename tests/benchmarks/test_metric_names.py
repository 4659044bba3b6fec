from nstc.benchmarks.metric_names import RENAMED, current_name, with_current_names
from nstc.benchmarks.quality.metrics import KNOWN


def test_old_names_are_of_metrics_that_there_are_and_no_metric_has_one():
    assert set(RENAMED.values()) <= set(KNOWN)
    assert not set(RENAMED) & set(KNOWN)


def test_only_old_names_change_and_order_stays():
    assert [current_name(own) for own in ("edge_preservation", "ssim", "photos")] == [
        "edge_difference",
        "ssim",
        "photos",
    ]
    renamed = with_current_names({"ssim": 1, "edge_preservation": 2, "photos": 3})
    assert list(renamed.items()) == [("ssim", 1), ("edge_difference", 2), ("photos", 3)]


def test_what_is_no_mapping_is_left_for_its_reader_to_refuse():
    for other in (None, [1], "edge_preservation", 3):
        assert with_current_names(other) == other
