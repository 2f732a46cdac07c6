"""Refiners: GrabCut and proposals, on images and maps whose object is known, and the same from every command."""

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsol.core.errors import InputError
from wsol.core.processes import map_beside
from wsol.data.proposals import Proposal, Proposals, read_split_proposals
from wsol.maps.refine import lift, make_refiner, refine
from wsol.maps.refine_saved import RefineSaved
from wsol.metrics.proposal_fit import best_proposal

OBJECT = (slice(12, 40), slice(20, 52))  # rows and columns
SIDE = 64


def photo(seed=0):
    """A blue object on a green ground, uint8 (SIDE, SIDE, 3), a little noisy."""
    image = np.full((SIDE, SIDE, 3), (40, 160, 60))
    image[OBJECT] = (40, 60, 200)
    return (image + np.random.default_rng(seed).integers(-15, 16, image.shape)).clip(0, 255).astype(np.uint8)


def blob(y=26, x=36, sigma=10.0):
    """A score map that is high around the object's middle, and falls off regardless of its edges."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    score_map = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
    return (score_map - score_map.min()) / (score_map.max() - score_map.min())


def truth():
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[OBJECT] = True
    return inside


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@given(st.integers(0, 2**32 - 1))
def test_lifting_keeps_the_order_inside_and_outside_the_region(seed):
    rng = np.random.default_rng(seed)
    score_map, region = rng.random((4, 5)), rng.random((4, 5)) > 0.5
    lifted = lift(score_map, region)
    assert lifted.min() >= 0 and lifted.max() <= 1
    for threshold in (0.1, 0.4, 0.6, 0.9):
        plainly = [
            [(m > 2 * threshold - 1) if r else (m > 2 * threshold) for m, r in zip(*rows, strict=True)]
            for rows in zip(score_map, region, strict=True)
        ]
        np.testing.assert_array_equal(lifted > threshold, plainly)


def test_grabcut_finds_the_objects_edges():
    refined = refine(make_refiner("grabcut"), photo(), blob(), "a")
    assert iou(refined > 0.5, truth()) > 0.97 > iou(blob() > 0.5, truth())
    assert len(np.unique(refined)) > 100  # thresholds still choose


def test_grabcut_is_the_same_in_every_thread_and_after_any_draw():
    images = [photo(seed) for seed in range(6)]
    expected = [refine(make_refiner("grabcut"), image, blob(), "a") for image in images]
    cv2.setRNGSeed(17)
    again = [found for _, found in map_beside(lambda image: refine(make_refiner("grabcut"), image, blob(), "a"), images)]
    np.testing.assert_array_equal(np.stack(again), np.stack(expected))


@pytest.mark.parametrize("score_map", [np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE)), np.full((SIDE, SIDE), 0.1)])
def test_a_map_that_tells_nothing_apart_is_not_refined(score_map):
    np.testing.assert_array_equal(refine(make_refiner("grabcut"), photo(), score_map, "a"), score_map)


def test_a_map_snaps_to_the_proposal_that_fits_it_best():
    size = (2 * SIDE, 2 * SIDE)  # the image is twice as large as its map
    boxes = [(0, 0, 128, 128), (40, 24, 104, 80), (0, 0, 30, 30)]
    proposals = [Proposal(box, None, "f") for box in boxes]
    refined = refine(make_refiner("proposals", Proposals({"a": proposals}, {"a": size})), photo(), blob(), "a")
    assert best_proposal(blob(), proposals, size)[0].box == boxes[1]
    np.testing.assert_array_equal(refined, (blob() + truth()) / 2)


def test_a_segmentation_counts_with_its_pixels():
    polygon = [[40.0, 24.0, 104.0, 24.0, 40.0, 80.0]]
    size = (2 * SIDE, 2 * SIDE)
    proposal = Proposal((40, 24, 104, 80), polygon, "f")
    refined = refine(make_refiner("proposals", Proposals({"a": [proposal]}, {"a": size})), photo(), blob(), "a")
    half = cv2.resize(proposal.mask(size).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(refined, (blob() + half) / 2)
    assert 0 < half.sum() < truth().sum()


def test_an_image_without_proposals_keeps_its_map():
    refiner = make_refiner("proposals", Proposals({"a": []}, {"a": (9, 9)}))
    np.testing.assert_array_equal(refine(refiner, photo(), blob(), "a"), blob())


def test_proposals_without_a_file_and_unknown_refiners_are_refused():
    with pytest.raises(InputError, match="refine proposals: expected proposals FILE"):
        make_refiner("proposals")
    with pytest.raises(InputError, match="'crf' is not one of the refiners: grabcut, proposals"):
        make_refiner("crf")


def test_a_file_with_no_proposal_of_the_split_is_refused(two_images):
    folder = Path(two_images.image_ids).parent
    path = folder / "other.json"
    path.write_text(json.dumps([{"image_id": "c.jpg", "bbox": [0, 0, 3, 3]}]))
    with pytest.raises(InputError, match=r"other.json: no proposal of any image of val; it has those of others:\s+c.jpg"):
        read_split_proposals(path, folder, ["a.jpg"])
    path.write_text(json.dumps([{"image_id": "a.jpg", "bbox": [0, 0, 3, 3]}]))
    found = read_split_proposals(path, folder, ["a.jpg"])
    assert found.sizes == {"a.jpg": (20, 10)} and found.found["a.jpg"][0].box == (0, 0, 3, 3)


def test_saved_maps_are_refined_by_their_image_at_the_maps_size(tmp_path):
    large = Image.fromarray(photo()).resize((100, 80))
    (tmp_path / "x").mkdir()
    large.save(tmp_path / "x" / "a.png")
    seen = []

    def keep(image, score_map, image_id):
        seen.append((image, image_id))
        return score_map

    RefineSaved(tmp_path, keep)(blob(), "x/a.png")
    np.testing.assert_array_equal(seen[0][0], np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
    assert seen[0][1] == "x/a.png"
    with pytest.raises(InputError, match=r"a.png: the refiner returned a map of shape \(5, 64\)"):
        RefineSaved(tmp_path, lambda image, score_map, image_id: score_map[:5])(blob(), "x/a.png")
    with pytest.raises(InputError, match=r"b\.png"):
        partial(RefineSaved(tmp_path, keep), blob(), "x/b.png")()
