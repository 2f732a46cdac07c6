"""Photos whose class may not be known: the maps are those that any mapper gives for the same class."""

import numpy as np
import pytest
import torch

from wsol import build_model, registry
from wsol.data.batches import Batch
from wsol.maps.class_maps import GIVEN, PREDICTED, UNKNOWN, WAYS, ClassMapper
from wsol.maps.mapper import make_mapper

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
CPU = torch.device("cpu")
CLASSIFIERS = [name for name in registry.names("methods") if registry.method_entry(name).classifies]


def model_of(method, classes=5):
    torch.manual_seed(0)
    return build_model("resnet18", method, classes, large_feature_map=True).eval()


def photos(mapper, labels, ways=WAYS):
    batch = Batch(IMAGES, torch.tensor(labels), list("abcd"), ["a bad one"], sizes=[(80, 60)] * 4)
    bad = []
    found = list(mapper.photos([batch], CPU, "off", bad, ways))
    assert bad == ["a bad one"] and [photo.image_id for photo in found] == list("abcd")
    return found


@pytest.mark.parametrize("method", CLASSIFIERS)
def test_maps_of_given_and_of_predicted_classes(method):
    model = model_of(method)
    with torch.no_grad():
        logits = model(IMAGES)["logits"]
        predicted = logits.argmax(dim=1)
        given = (predicted + 1) % 5
        maps = {PREDICTED: model.score_maps(IMAGES, predicted), GIVEN: model.score_maps(IMAGES, given)}
    found = photos(ClassMapper.of(model, model, []), given.tolist())
    for way, labels in ((GIVEN, given), (PREDICTED, predicted)):
        assert [photo.maps[way].label for photo in found] == labels.tolist()
        assert all((photo.maps[way].raw_map == raw.numpy()).all() for photo, raw in zip(found, maps[way], strict=True))
    np.testing.assert_allclose(found[2].probabilities, logits.softmax(dim=1)[2], rtol=1e-6)
    same = np.array_equal(found[0].maps[GIVEN].raw_map, found[0].maps[PREDICTED].raw_map)
    assert same == (method == "tri_region")  # the foreground, whatever the class


@pytest.mark.parametrize("method", ["cam", "acol"])
def test_of_a_batch_some_labels_may_be_given(method):
    model = model_of(method)
    with torch.no_grad():
        predicted = model(IMAGES)["logits"].argmax(dim=1)
        given = torch.tensor([UNKNOWN, (predicted[1] + 1) % 5, UNKNOWN, (predicted[3] + 2) % 5])
        labels = torch.where(given < 0, predicted, given)
        maps = model.score_maps(IMAGES, labels)
    found = photos(ClassMapper.of(model, model, []), given.tolist(), [GIVEN])
    assert [photo.maps[GIVEN].label for photo in found] == labels.tolist()
    assert all((photo.maps[GIVEN].raw_map == raw.numpy()).all() for photo, raw in zip(found, maps, strict=True))


def test_an_extractor_s_maps_follow_the_label():
    model = model_of("cam")
    mapper = make_mapper("gradcam", model)
    labels = [(label + 1) % 5 for label in model(IMAGES)["logits"].argmax(dim=1).tolist()]
    found = photos(ClassMapper.of(mapper, model, [np.array([0, 0, 1, 1, 1])]), labels)
    expected = mapper.raw_maps(mapper(IMAGES, torch.tensor(labels)), torch.tensor(labels)).detach().numpy()
    assert all(np.allclose(photo.maps[GIVEN].raw_map, raw) for photo, raw in zip(found, expected, strict=True))
    assert not np.allclose(found[0].maps[GIVEN].raw_map, found[0].maps[PREDICTED].raw_map)
    assert found[0].maps[GIVEN].coarser == []


def test_coarser_maps_are_those_of_cam_agg():
    model, ancestors = model_of("cam"), np.array([0, 0, 1, 1, 1])
    found = photos(ClassMapper.of(model, model, [ancestors]), [0, 1, 2, 3])
    labels = torch.tensor([0, 1, 2, 3])
    mapper = make_mapper(registry.CAM_AGG, model, ancestors)
    with torch.no_grad():
        maps = mapper.raw_maps(mapper(IMAGES, labels), labels).numpy()
    for photo, raw in zip(found, maps, strict=True):
        np.testing.assert_array_equal(photo.maps[GIVEN].coarser[0], raw)


def test_methods_that_tell_no_classes_apart():
    model = model_of("fsl_seg", 1)
    found = photos(ClassMapper.of(model, model, []), [UNKNOWN] * 4)
    with torch.no_grad():
        maps = model.score_maps(IMAGES, torch.zeros(4, dtype=torch.int64)).numpy()
    for photo, raw in zip(found, maps, strict=True):
        assert photo.probabilities is None and (photo.maps[GIVEN].raw_map == raw).all()
    detector = model_of("fsl_det", 1)
    found = photos(ClassMapper.of(detector, detector, []), [UNKNOWN] * 4)
    assert all(photo.maps == {} and (photo.box is None or len(photo.box) == 4) for photo in found)
