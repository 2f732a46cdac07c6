"""evaluation.py --thresholds_from: the score-map thresholds that val chose, and files without them."""

import json

import pytest

from samples import BOTH, of_json, read_csv, save_maps, write_json_file, write_split
from wsol.core.files import write_text


def test_val_chooses_the_threshold_of_test(two_images, tmp_path, command):
    lines = {"image_ids": ["t.jpg"], "image_sizes": ["t.jpg,16,16"], "localization": ["t.jpg,0,0,6,9"]}
    write_split(tmp_path / "metadata/D/test", **lines)
    save_maps(tmp_path / "maps", ids=[*BOTH, "t.jpg"])
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--multi_contour_eval", "--multi_iou_eval"]
    command(*where, "--json", "val.json")
    chosen = of_json(tmp_path / "val.json")["best_threshold"]
    test = [*where, "--split", "test", "--json", "test.json", "--per_image", "i.csv", "--curve", "c.csv"]
    output = command(*test, "--thresholds_from", "val.json")
    results, curve = of_json(tmp_path / "test.json"), read_csv(tmp_path / "c.csv")
    assert results["val_threshold"] == chosen
    for iou in ("30", "50", "70"):
        at = next(row for row in curve if float(row["threshold"]) == chosen[iou])
        assert results["MaxBoxAcc_at_val_threshold"][iou] == float(at[f"MaxBoxAcc{iou}"]) <= results["MaxBoxAcc"][iou]
    assert "MaxBoxAccV2 at val's threshold" in output and "WARNING" not in output
    assert float(read_csv(tmp_path / "i.csv")[0]["threshold"]) == chosen["50"]
    assert "the boxes are at the score-map threshold that test itself chose" in command(*test)
    assert "results of the split 'test'" in command(*test, "--thresholds_from", "test.json", code=2)
    other = command(*test, "--multi_contour_eval", "F", "--thresholds_from", "val.json", code=2)
    assert "thresholds for box_rule multi_contour; expected largest_contour" in other
    other = command(*test, "--iou_threshold_list", "50", "90", "--thresholds_from", "val.json", code=2)
    assert "--iou_threshold_list 90: val chose score-map thresholds for IoU 30, 50, 70 only" in other
    write_text(tmp_path / "val.json", json.dumps({**of_json(tmp_path / "val.json"), "best_threshold": {"50": 0.1234}}))
    one = ["--iou_threshold_list", "50", "--thresholds_from", "val.json"]
    assert "val.json: val's score-map threshold 0.1234 for IoU 50 is not one of --cam_curve_interval 0.01" in command(
        *test, *one, code=2
    )


@pytest.mark.parametrize("value", [float("nan"), True, "0.5", -0.1, 1.0])
def test_thresholds_of_val_that_are_none_are_refused(two_images, tmp_path, command, value):
    write_json_file(tmp_path, {"dataset_name": "D", "box_rule": "largest_contour", "best_threshold": {"50": value}})
    words = ["--dataset_name", "D", "--center", "--iou_threshold_list", "50", "--thresholds_from", "other.json"]
    assert "other.json: val.best_threshold is {'50': " in command(*words, code=2)


def test_the_interval_of_vals_thresholds_is_taken_from_their_file(two_images, tmp_path, command):
    words = ["--dataset_name", "D", "--center", "--center_size", "64", "--bootstrap", "0"]
    command(*words, "--json", "val.json", "--cam_curve_interval", "0.0125")
    val = of_json(tmp_path / "val.json")
    assert val["cam_curve_interval"] == 0.0125
    val["best_threshold"]["50"] = 0.5125
    write_text(tmp_path / "val.json", json.dumps(val))
    output = command(*words, "--thresholds_from", "val.json", "--json", "r.json")
    assert "score-map thresholds every 0.0125, val's from val.json" in output
    assert of_json(tmp_path / "r.json")["val_threshold"]["50"] == pytest.approx(0.5125)
    output = command(*words, "--thresholds_from", "val.json", "--cam_curve_interval", "0.01", code=2)
    assert "0.5125 for IoU 50 is not one of --cam_curve_interval 0.01; expected the interval with which val was" in output
    assert "val was scored, 0.0125" in output
    results = {"dataset_name": "D", "cam_curve_interval": 0.0125, "val": val | {"cam_curve_interval": None}}
    del results["val"]["cam_curve_interval"]
    write_text(tmp_path / "results.json", json.dumps(results))  # as main.py writes it
    assert "every 0.0125" in command(*words, "--thresholds_from", "results.json")


@pytest.mark.parametrize(("threshold", "interval"), [(0.57, "0.01"), (0.571, "0.001"), (0.5715, None)])
def test_older_files_without_an_interval(two_images, tmp_path, command, threshold, interval):
    thresholds = {"30": 0.2, "50": threshold, "70": 0.3}
    write_json_file(tmp_path, {"dataset_name": "D", "box_rule": "largest_contour", "best_threshold": thresholds})
    words = ["--dataset_name", "D", "--center", "--center_size", "64", "--bootstrap", "0", "--thresholds_from", "other.json"]
    if interval:
        assert f"score-map thresholds every {interval}, val's from other.json" in command(*words)
    else:
        message = "other.json: val's score-map threshold 0.5715 for IoU 50 is not one of --cam_curve_interval 0.01"
        assert message in command(*words, code=2)
        assert "every 0.0005" in command(*words, "--cam_curve_interval", "0.0005")


GOOD = {"dataset_name": "D", "box_rule": "largest_contour", "best_threshold": {"50": 0.46}, "cam_curve_interval": 0.01}


NO_NUMBERS = ("[]", "{}", '"0.01"', "true", "NaN", "Infinity", "-1", "2", "1" * 4000, '"' + "x" * 9000 + '"', '"\\ud800"')


@pytest.mark.parametrize("key", GOOD)
def test_a_thresholds_file_with_a_wrong_entry_is_named(two_images, tmp_path, command, key):
    words = ["--dataset_name", "D", "--center", "--iou_threshold_list", "50", "--thresholds_from", "other.json"]
    for value in NO_NUMBERS:
        texts = [json.dumps({**GOOD, key: 7}).replace(": 7", f": {value}")]
        texts += [json.dumps({**GOOD, key: {"50": 7}}).replace(": 7", f": {value}")] if key == "best_threshold" else []
        for text in texts:
            write_text(tmp_path / "other.json", text)
            output = command(*words, code=2)
            assert output.startswith("error: other.json: ") and len(output) < 600


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "3", '{"val": []}', '{"val": null}', '{"val": {}}', '{"split": []}', '{"split": "test"}'),
        *("[" * 100_000, '{"best_threshold": ' + "1" * 5000 + "}", "\x00", '{"best_threshold": {}}', '{"val": {"val": {}}}'),
        json.dumps({**GOOD, "best_threshold": {"fifty": 0.5}}),
        json.dumps({**GOOD, "best_threshold": {"9" * 5000: 0.5}}),
    ],
)
def test_a_thresholds_file_of_another_kind_is_named(two_images, tmp_path, command, text):
    write_text(tmp_path / "other.json", text)
    output = command("--dataset_name", "D", "--center", "--thresholds_from", "other.json", code=2)
    assert output.startswith("error: other.json: ") and len(output) < 600
