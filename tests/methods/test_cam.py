"""CAM: a class's map of the features, and its logit."""

import torch

from samples import noise
from wsol import build_model

LABELS = torch.tensor([1, 0, 3])


def test_a_map_is_the_class_weights_times_the_features_averaged_over_channels():
    model = build_model("resnet18", "cam", 5).eval()
    outputs = model(noise(64, 64))
    maps = model.raw_maps(outputs, LABELS).double()
    for i, label in enumerate(LABELS):
        expected = (outputs["features"][i] * model.classifier.weight[label][:, None, None]).double().mean(0)
        torch.testing.assert_close(maps[i], expected.detach(), rtol=1e-4, atol=1e-7)
    # What CAM is named for: the map's mean, times the channels, plus the bias is the logit.
    logits = maps.mean((1, 2)) * 512 + model.classifier.bias[LABELS]
    torch.testing.assert_close(logits, outputs["logits"].gather(1, LABELS[:, None])[:, 0].double(), rtol=1e-4, atol=1e-5)
