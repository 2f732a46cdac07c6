"""Text-image similarity: a tiny network of open_clip with random weights, against its own block, and as a command."""

import json
from pathlib import Path

import pytest
import torch

from conftest import run
from wsol.core.errors import InputError
from wsol.data.preprocessing import IMAGENET
from wsol.maps.mapper import make_mapper
from wsol.maps.score_maps import read_score_map
from wsol.maps.text import texts_of
from wsol.methods.bare import BareNetwork
from wsol.methods.build import build_backbone

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NAMES = ["grey wolf", "fox", "newt"]
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The name of a tiny network that open_clip knows for these tests."""
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed: pip install -e '.[clip]'")
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-test.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return "open_clip:tiny-test"


def backbone_of(name, path=None):
    torch.manual_seed(0)
    return build_backbone(name, "pooled", False, path is not None, path).eval()


@torch.inference_mode()
def test_a_patchs_feature_is_that_of_the_network_if_it_attended_to_itself_alone(tiny):
    backbone = backbone_of(tiny)
    visual = backbone.network.visual
    tokens = visual._embeds(IMAGES)
    *before, last = visual.transformer.resblocks
    for block in before:
        tokens = block(tokens)
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
    expected = visual.ln_post(last(tokens, attn_mask=alone))[:, 1:] @ visual.proj
    torch.testing.assert_close(backbone(IMAGES).flatten(2).transpose(1, 2), expected)
    assert backbone.offer.num_features == 24 and backbone.offer.own_preprocessing not in (None, IMAGENET)


@torch.inference_mode()
def test_the_map_of_a_label_is_the_cosine_with_its_text(tiny):
    backbone = backbone_of(tiny)
    mapper = make_mapper("text", BareNetwork(backbone), texts=texts_of("a photo of a {name}", NAMES)).eval()
    outputs = mapper(IMAGES)
    maps = mapper.raw_maps(outputs, torch.tensor([2, 0]))
    assert maps.dtype == torch.float32 and maps.shape == (2, 4, 4) and "logits" not in outputs
    features = backbone(IMAGES)
    for image, name in enumerate(("newt", "grey wolf")):
        text = backbone.network.encode_text(backbone.tokenizer([f"a photo of a {name}"]))[0]
        for y, x in ((0, 0), (3, 1)):
            expected = torch.nn.functional.cosine_similarity(features[image, :, y, x], text, dim=0)
            assert float(maps[image, y, x]) == pytest.approx(float(expected), abs=1e-5)


def test_weights_come_from_a_file(tiny, tmp_path):
    saved = backbone_of(tiny)
    torch.nn.init.ones_(saved.network.visual.class_embedding)
    torch.save(saved.network.state_dict(), tmp_path / "w.pt")
    loaded = backbone_of(tiny, str(tmp_path / "w.pt"))
    assert torch.equal(loaded.network.visual.class_embedding, torch.ones(64))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="does not match the architecture"):
        backbone_of(tiny, str(tmp_path / "other.pt"))


def test_what_it_cannot_do_is_refused(tiny):
    with pytest.raises(InputError, match="architecture open_clip:ViT-B-61: open_clip has no such network; did you mean"):
        backbone_of("open_clip:ViT-B-61")
    with pytest.raises(InputError, match=r"open_clip:ViT-B-16/nowhere: names no weights; expected .*openai"):
        build_backbone("open_clip:ViT-B-16/nowhere", "pooled", False, True, None)
    with pytest.raises(InputError, match="open_clip:RN50: its image tower is not a plain vision transformer"):
        backbone_of("open_clip:RN50")
    with pytest.raises(InputError, match="crop_size 32: expected 64 with this network"):
        backbone_of(tiny)(IMAGES[:, :, :32, :32])
    with pytest.raises(InputError, match="extractor text: the network has no text tower"):
        make_mapper("text", BareNetwork(build_backbone("resnet18", "pooled", False, False, None)), texts=["a"])
    with pytest.raises(InputError, match="prompts none: expected a text"):
        make_mapper("text", BareNetwork(backbone_of(tiny)))


def test_weights_of_a_tag_that_cannot_be_fetched_are_named(tiny, monkeypatch):
    import open_clip

    own = open_clip.create_model

    def offline(name, pretrained=None, **options):
        if pretrained:
            raise RuntimeError("no network")
        return own("tiny-test", **options)

    monkeypatch.setattr(open_clip, "create_model", offline)
    with pytest.raises(InputError, match=r"weights of open_clip:ViT-B-16/laion2b_s34b_b88k could not be fetched .*laion"):
        build_backbone("open_clip:ViT-B-16/laion2b_s34b_b88k", "pooled", False, True, None)


def test_a_split_is_mapped_at_any_level(tiny, workspace):
    first = (workspace / "metadata/Toy/val/image_ids.txt").read_text().split()[:3]
    (workspace / "list.txt").write_text("\n".join(first) + "\n")
    words = ("--architecture", tiny, "--pretrained", "F", "--crop_size", "64", "--dataset_name", "Toy", "--workers", "0")
    words = (*words, "--extractor", "text", "--image_list", "list.txt", "--prompts", "a photo of a {name}")
    maps = {}
    for level in ("species", "order"):
        run("inference.py", *words, "--label_level", level, "--scoremap_root", level, cwd=workspace)
        maps[level] = [read_score_map(Path(workspace / level / f"{image_id}.npy"))[0] for image_id in first]
    one, other = maps.values()
    assert any((a != b).any() for a, b in zip(one, other, strict=True))  # other texts, other maps


def test_without_open_clip_the_command_says_how_to_install_it(workspace, monkeypatch):
    monkeypatch.setattr("config.find_spec", lambda name: None)
    words = ("--architecture", "open_clip:ViT-B-16/openai", "--extractor", "text", "--prompts", "a {name}")
    printed = run("inference.py", *words, "--dataset_name", "Toy", "--scoremap_root", "maps", cwd=workspace, code=2)
    assert "open_clip is not installed; expected it, from: pip install -e '.[clip]'" in printed
