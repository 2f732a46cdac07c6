"""Networks of the open_clip library, as `open_clip:NAME/TAG`: images and texts to one space.

In: images, or texts. Out: features (B, D, h, w) in the space of the texts, and the texts' own (n, D). open_clip is an
optional library.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from wsol.core.errors import OptionError, OptionName, did_you_mean, reason
from wsol.core.registry import OPEN_CLIP_PREFIX
from wsol.data.preprocessing import Preprocessing
from wsol.networks.backbone import Backbone, Offer
from wsol.networks.weights import download_into, load_file_into


def _refusal(name: str, *problem: str) -> OptionError:
    return OptionError("architecture", f"{OPEN_CLIP_PREFIX}{name}", *problem)


class OpenClipBackbone(Backbone):
    """A network of open_clip with a vision transformer; images (B, 3, H, W) to features of every patch in the texts' space.

    CLIP trains only the class token to lie in that space. As in MaskCLIP (Zhou et al., "Extract Free Dense Labels from
    CLIP", ECCV 2022), the last block's attention is replaced by its values: what a patch would give if it attended to itself
    alone. Its residual, its MLP, the last normalisation and the projection stay.
    """

    def __init__(self, network: Any, tokenizer: Any, offer: Offer):  # noqa: ANN401 (of an optional library)
        super().__init__({"network": network}, offer)
        self.tokenizer = tokenizer

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of the patches, float (B, D, h, w).

        Raises:
            OptionError: the images do not have the size that the position embeddings are for.
        """
        visual: Any = self.network.visual  # type: ignore[union-attr]  # open_clip's
        if tuple(images.shape[2:]) != tuple(visual.image_size):
            height, width = visual.image_size
            sides = f"{height} with this network" if height == width else "another network: this one's images are not square"
            raise OptionError("crop_size", images.shape[3], f"expected {sides}")
        parts = visual.forward_intermediates(images, indices=[-2], stop_early=True, intermediates_only=True)
        before = parts["image_intermediates"][0]  # (B, width, h, w): what the last block gets
        tokens, block = before.flatten(2).transpose(1, 2), visual.transformer.resblocks[-1]
        tokens = tokens + block.ls_1(_values(block.attn, block.ln_1(tokens)))
        tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        return (visual.ln_post(tokens) @ visual.proj).transpose(1, 2).unflatten(2, before.shape[2:])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return float32 (n, D) of unit length: the texts in the space of the features, on the network's device."""
        network: Any = self.network
        device = next(network.parameters()).device
        return functional.normalize(network.encode_text(self.tokenizer(list(texts)).to(device)).float(), dim=1)


def _values(attention: nn.MultiheadAttention, tokens: torch.Tensor) -> torch.Tensor:
    """Return what the attention would give of tokens (B, T, C), if each attended to itself alone."""
    width = attention.embed_dim
    weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    return attention.out_proj(functional.linear(tokens, weight, bias))


def _check(name: str, visual: Any) -> None:  # noqa: ANN401 (of an optional library)
    """Raise OptionError if the features of an image tower cannot be computed as above."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.proj is not None
    if not plain or len(visual.transformer.resblocks) < 2:
        raise _refusal(name, "its image tower is not a plain vision transformer; expected one such as open_clip:ViT-B-16")
    if not isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock):
        raise _refusal(name, "its blocks are not plain ones; expected a network such as open_clip:ViT-B-16")


def open_clip_network(
    name: str, _trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None
) -> OpenClipBackbone:
    """Return open_clip's network NAME of `NAME/TAG`, with the weights of that tag or of a file; the same for every trunk.

    Raises:
        OptionError: open_clip is not installed, it has no such network, its image tower is not a plain vision transformer,
            or the weights cannot be obtained.
    """
    if find_spec("open_clip") is None:
        raise _refusal(name, "open_clip is not installed; expected it, from: pip install -e '.[clip]' in the checkout")
    import open_clip

    kind, _, tag = name.partition("/")
    if kind not in open_clip.list_models():
        raise _refusal(name, f"open_clip has no such network{did_you_mean(kind, open_clip.list_models())}")
    if large_feature_map:
        raise OptionError("large_feature_map", "TRUE", "open_clip's networks have no stride to remove; expected FALSE")
    tags = open_clip.list_pretrained_tags_by_model(kind)
    if pretrained and not pretrained_path and tag not in tags:
        raise _refusal(
            name,
            f"names no weights; expected {OPEN_CLIP_PREFIX}{kind}/TAG with one of {', '.join(tags) or 'none'}, or ",
            OptionName("pretrained_path"),
            " FILE",
        )
    try:
        network = open_clip.create_model(kind, pretrained_text=False)
        tokenizer = open_clip.get_tokenizer(kind)
    except Exception as error:  # noqa: BLE001 (some towers and tokenizers are fetched from a hub, by other libraries)
        raise _refusal(name, f"open_clip cannot create it ({reason(error)})") from None
    _check(name, network.visual)
    if pretrained_path:
        load_file_into(network, pretrained_path, ignored=())
    elif pretrained:
        stated = open_clip.get_pretrained_cfg(kind, tag)
        source = f"the weights {tag!r} of {kind} ({stated.get('hf_hub') or stated.get('url')})"
        download_into(
            network, lambda: open_clip.create_model(kind, pretrained=tag).state_dict(), f"{OPEN_CLIP_PREFIX}{name}", source
        )
    mean, std = (tuple(network.visual.preprocess_cfg[key]) for key in ("mean", "std"))
    return OpenClipBackbone(
        network, tokenizer, Offer(num_features=network.visual.output_dim, own_preprocessing=Preprocessing(mean, std))
    )
