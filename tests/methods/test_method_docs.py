"""The examples of docs/methods.md, as they stand there: one file and one registry line each."""

import inspect
import re
import sys

import pytest
import torch

from config import get_config
from conftest import CHECKOUT
from samples import OF_LABELS
from wsol import build_from_config, build_model
from wsol.core import registry
from wsol.maps.mapper import make_mapper
from wsol.methods.draws import DrawSource

TEXT = (CHECKOUT / "docs" / "methods.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"`wsol/\w+/(\w+)\.py`:\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL))
IMAGES, LABELS = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2])


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """The examples' files, importable, and their lines in the registry."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, code in EXAMPLES.items():
        (tmp_path / f"example_{name}.py").write_text(code)
    for kind in ("ARCHITECTURES", "METHODS", "MAPPERS"):
        lines = re.search(rf"in `{kind}` of `wsol/core/registry.py`:\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL)[1]
        lines = re.sub(r'"wsol\.\w+\.', '"example_', lines)
        for name, entry in eval(f"{{{lines}}}", vars(registry)).items():
            monkeypatch.setitem(getattr(registry, kind), name, entry)
    yield
    for name in EXAMPLES:
        sys.modules.pop(f"example_{name}", None)


@pytest.mark.parametrize("name", list(registry.METHODS))
def test_a_method_takes_the_options_of_its_entry_with_their_defaults(name):
    parameters = inspect.signature(registry.load(registry.METHODS[name].path)).parameters.values()
    taken = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert taken == {option.name: option.default for option in registry.METHODS[name].options}


def test_the_new_method_is_an_option_and_works_on_every_architecture(examples):
    config, _ = get_config(["--wsol_method", "cutout", "--cutout_size", "20", "--architecture", "vgg16"])
    assert config.cutout_size == 20
    model = build_from_config(config, 3).eval()
    seen = []
    model.backbone.features[0].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    draws = model.draw(DrawSource(0, 1, 0, (7, 2)), (96, 96))
    model.training_step(IMAGES, LABELS, draws)[1].backward()
    hidden = (seen[0] == 0).all(dim=1).flatten(1).sum(1)
    assert all(0 < count <= 400 for count in hidden.tolist())
    assert len(set((seen[0] == 0).flatten().nonzero().flatten().tolist())) == 3 * int(hidden.sum())


@pytest.mark.parametrize(("large", "side"), [(False, 3), (True, 6)])
def test_the_new_architecture_works_with_every_method(examples, large, side):
    for method in OF_LABELS:
        torch.manual_seed(0)
        model = build_model("mobilenet_v3_large", method, 3, large_feature_map=large).train()
        model.training_step(IMAGES, LABELS)[1].backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert model.eval().score_maps(IMAGES, LABELS).shape == (2, side, side)


@pytest.mark.parametrize(("architecture", "method"), [("resnet18", "cam"), ("vgg16", "acol"), ("resnet18", "spg")])
def test_the_new_mapper_works_with_every_method(examples, architecture, method):
    model = build_model(architecture, method, 3).eval()
    assert "activation" in registry.names("mappers")
    mapper = make_mapper("activation", model).eval()
    outputs = mapper(IMAGES, LABELS)
    torch.testing.assert_close(mapper.raw_maps(outputs, LABELS), model.backbone(IMAGES).mean(dim=1))
    torch.testing.assert_close(outputs["logits"], model(IMAGES, LABELS)["logits"])
