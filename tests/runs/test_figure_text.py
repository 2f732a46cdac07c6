"""Figures as lines for a person."""

from wsol.runs.figure_text import format_analysis, format_comparison, format_results

RESULTS = {
    "MaxBoxAcc": {"30": 90.0, "50": 60.0},
    "MaxBoxAccV2": 75.0,
    "PxAP": None,
    "box_rule": "multi_contour",
    "best_threshold": {"30": 0.2, "50": 0.35},
}


def test_all_iou_thresholds_or_50_alone():
    assert format_results(RESULTS, False) == "MaxBoxAcc at IoU 50  60.00  (score-map threshold 0.350, multi contour)"
    assert format_results(RESULTS, True).split("\n")[0] == "MaxBoxAccV2  75.00"
    largest = {**RESULTS, "MaxBoxAccV2": None, "box_rule": "largest_contour"}
    assert format_results(largest, True).startswith("mean MaxBoxAcc  75.00\nMaxBoxAcc at IoU 30  90.00")


def test_intervals_stand_behind_their_figures():
    found = {"percent": 95, "resamples": 10, "seed": 0, "MaxBoxAcc": {"30": [85, 95], "50": None}, "MaxBoxAccV2": [70, 80]}
    lines = format_results({**RESULTS, "intervals": found}, True).split("\n")
    assert lines[0] == "MaxBoxAccV2  75.00  [70.00, 80.00]"
    assert "90.00  [85.00, 95.00]  (" in lines[1] and "60.00  (" in lines[2]
    assert "10 resamples" in lines[3]


def test_an_analysis_and_a_comparison_without_figures_say_none():
    nothing = {"mean": None, "median": None}
    analysis = {"score_map_threshold": 0.5, "images_without_activation_outside": 2, "area_ratio": nothing}
    analysis |= {"activation_ratio": nothing, "num_components": {"mean": 1.5, "median": 1}}
    assert "box area  none" in format_analysis(analysis) and "mean 1.500, median 1.000" in format_analysis(analysis)
    compared = format_comparison("a", "b", {"PxAP": {"difference": 1.5, "interval": None, "p_value": 0.0123}})
    assert compared == "a less b, on the same images:\n  PxAP  +1.50  [none]  p 0.0123"
