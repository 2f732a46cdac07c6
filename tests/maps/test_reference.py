"""Maps of a network before training."""

import numpy as np
import torch

from samples import noise
from wsol import build_model
from wsol.maps.reference import NORM, PREDICTED, reference_mapper


def test_the_map_is_the_length_of_the_features_or_that_of_the_predicted_class():
    torch.manual_seed(0)
    model = build_model("resnet18", "cam", 7).eval()
    images, wrong = noise(64, 64), torch.tensor([0, 1, 2])
    with torch.inference_mode():
        outputs = model(images)
        norm, predicted = (reference_mapper(model, kind) for kind in (NORM, PREDICTED))
        lengths = norm.raw_maps(norm(images), wrong).numpy()
        of_class = predicted.raw_maps(predicted(images), wrong)
    features = outputs["features"].numpy()
    for b, y, x in np.ndindex(lengths.shape):
        assert np.isclose(lengths[b, y, x], sum(float(value) ** 2 for value in features[b, :, y, x]) ** 0.5, rtol=1e-4)
    assert torch.equal(of_class, model.raw_maps(outputs, outputs["logits"].argmax(dim=1)))
    assert not torch.equal(of_class, model.raw_maps(outputs, wrong))
    assert "logits" not in predicted(images)  # which would be ranked against labels that are not theirs
