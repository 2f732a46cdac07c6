import dataclasses
import pickle

import numpy as np
import pytest

import wsol.data.truth
from conftest import run
from evaluation import BoxEvaluator
from samples import write_split
from wsol.core.errors import InputError
from wsol.data.truth import BoxTruth, MaskTruth, SplitTruth
from wsol.metrics.split_evaluator import SplitEvaluator


@pytest.fixture
def truth(toy_root):
    return SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")


def test_a_truth_cannot_be_changed(truth):
    for one, name in ((truth, "split"), (truth.boxes, "boxes"), (truth.masks, "root")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, name, None)


def test_boxes_and_masks_of_the_images_to_be_scored_are_counted(two_images, tmp_path, toy_root, truth):
    def of_two(*image_ids):
        return SplitTruth.read(tmp_path / "metadata", tmp_path, "D", "val", image_ids or None).count()

    assert (of_two(), of_two("x, y/b.jpg")) == ((3, 0), (2, 0))
    lines = (toy_root / "metadata/Toy/val/localization.txt").read_text().splitlines()
    masks = (toy_root / "metadata/Toy/val/masks.txt").read_text().splitlines()
    assert truth.count() == (len(lines), len(masks))


def test_evaluators_share_one_truth_and_reach_processes_with_it(truth):
    first, second = (SplitEvaluator(truth, interval, [50], True) for interval in (0.1, 0.5))
    assert first.boxes.original_bboxes is second.boxes.original_bboxes is truth.boxes.boxes
    assert first.masks.mask_paths is second.masks.mask_paths
    sent = pickle.loads(pickle.dumps(first.score))
    score_map, image_id = np.eye(64), truth.image_ids[0]
    for one, other in zip(sent(score_map, image_id)[1:3], first.score(score_map, image_id)[1:3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_evaluator_of_a_truth_is_that_of_the_files(tmp_path):
    metadata = write_split(tmp_path, image_sizes=["a.jpg,20,10"], localization=["a.jpg,0,0,9,4"])
    thresholds = [0.0, 0.5]
    of_files, of_truth = (BoxEvaluator(one, "D", "val", thresholds) for one in (metadata, BoxTruth.read(metadata)))
    for one in (of_files, of_truth):
        one.accumulate(np.eye(10, 20), "a.jpg")
    assert of_files.num_correct[50].tolist() == of_truth.num_correct[50].tolist()
    assert of_files.original_bboxes == of_truth.original_bboxes and of_files.image_sizes == of_truth.image_sizes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "vol"}, r"no metadata of the split 'vol' of 'Toy'; did you mean val\?"),
        ({"image_ids": []}, "Toy val: no images to evaluate"),
        ({"image_ids": ["x.jpg"]}, "lacks 1 of the images to be scored:\n  x.jpg"),
        ({"mask_root": "nowhere"}, "masks are missing"),
    ],
)
def test_what_cannot_be_compared_with_is_refused(toy_root, change, message):
    where = {
        "metadata_root": toy_root / "metadata",
        "mask_root": toy_root / "dataset",
        "dataset_name": "Toy",
        "split": "val",
    }
    with pytest.raises(InputError, match=message):
        SplitTruth.read(**{**where, **change})


def test_some_images_need_only_their_own_truth(truth, toy_root):
    some = list(truth.image_ids[:3])
    part = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val", some, with_masks=False)
    assert (part.image_ids, part.split_ids, part.masks) == (some, truth.split_ids, None)
    assert len(truth.masks.files(some)) >= 3


def test_a_run_reads_the_truth_of_a_split_once(workspace, monkeypatch):
    read = []
    for kind in (BoxTruth, MaskTruth):
        before = kind.read

        def counted(metadata, *more, before=before, name=kind.__name__):
            read.append(name)
            return before(metadata, *more)

        monkeypatch.setattr(getattr(wsol.data.truth, kind.__name__), "read", counted)
    small = [
        "--resize_size",
        32,
        "--crop_size",
        32,
        "--architecture",
        "resnet18",
        "--pretrained",
        "FALSE",
        "--eval_test",
        "F",
    ]
    few = ["--num_train_sample_per_class", 1, "--num_val_sample_per_class", 1, "--workers", 0, "--bootstrap", 0]
    run("main.py", *small, *few, "--epochs", 1, "--label_level", "order", cwd=workspace)
    assert read == ["BoxTruth", "MaskTruth"]
