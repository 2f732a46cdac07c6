"""docs/training_free.md: every command that names weights, up to their download."""

import re
import shlex

import pytest
import timm

from conftest import CHECKOUT, run

PAGE = (CHECKOUT / "docs/training_free.md").read_text(encoding="utf-8")
COMMANDS = [
    line.strip() for line in PAGE.splitlines() if re.match(r" +python inference.py --architecture \S+ .*root \w+$", line)
]


def test_the_page_has_a_command_for_each_family():
    names = " ".join(COMMANDS)
    for family in ("dino ", "dinov2.", "reg4_dinov2", "dinov3", "mae", "siglip", "clip_224.openai", "open_clip:"):
        assert family in names
    assert len(COMMANDS) == 8


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_asks_for_the_weights_that_it_names(line, workspace, monkeypatch):
    _, script, *words = shlex.split(line.replace("--dataset_name CUB", "--dataset_name Toy"))
    asked, create = [], timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained and name not in asked:
            asked.append(name)
            raise OSError("no network")
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    architecture = words[1]
    if architecture.startswith("open_clip:"):
        open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed: pip install -e '.[clip]'")
        create_clip = open_clip.create_model

        def offline_clip(name, pretrained=None, **options):
            if pretrained:
                asked.append(f"{name}/{pretrained}")
                raise OSError("no network")
            return create_clip(name, **options)

        monkeypatch.setattr(open_clip, "create_model", offline_clip)
    printed = run(script, *words, "--workers", "0", cwd=workspace, code=2)
    assert f"the weights of {architecture} could not be fetched (OSError)" in printed
    assert asked == [architecture.partition(":")[2]]
    tag = asked[0].partition(".")[2]
    if architecture.startswith("timm:"):
        assert tag and timm.get_pretrained_cfg(asked[0]).tag == tag  # timm has such weights
