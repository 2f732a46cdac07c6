"""Queries and keys of a timm transformer's last block, also where its attention is fused and keeps no weights.

In: a network whose last block has one of timm's plain attentions, and what that attention is called with. Out: queries and
keys of every token, and the attention of the class token.
"""

from typing import Any, NamedTuple

import torch
from timm.layers import apply_rot_embed_cat
from timm.layers.attention import Attention, AttentionRope
from timm.models.eva import EvaAttention
from torch import nn
from torch.nn import functional

from wsol.networks.backbone import Backbone

READABLE = (Attention, AttentionRope, EvaAttention)  # attention from every token to every other one, without windows


class QueriesKeys(NamedTuple):
    """Queries and keys of all tokens, prefix tokens included, float (B, heads, T, d), as the attention multiplies them.

    plain_keys: the keys before rotary position embeddings; the same as `keys` in networks without these.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    plain_keys: torch.Tensor


def last_attention(backbone: Backbone) -> nn.Module | None:
    """Return the attention module of a timm transformer's last block; None if the network has none that can be read.

    Convolutional networks have none, nor have those whose attention is in windows (Swin) or has a bias of its own (BEiT).
    """
    network = getattr(backbone, "network", None)
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not len(blocks):
        return None
    attention = getattr(blocks[-1], "attn", None)
    return attention if isinstance(attention, READABLE) else None


def has_class_token(backbone: Backbone) -> bool:
    """Return whether the first token of a timm transformer is a class token."""
    return getattr(getattr(backbone, "network", None), "cls_token", None) is not None


def _projected(attention: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401 (one of READABLE)
    """Return queries and keys (B, heads, T, d) of tokens (B, T, C), from the joint projection or from separate ones."""
    if attention.qkv is None:
        queries, keys = attention.q_proj(tokens), attention.k_proj(tokens)
    elif getattr(attention, "q_bias", None) is not None:  # EVA keeps the biases apart, since its keys have none
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        queries, keys, _ = functional.linear(tokens, attention.qkv.weight, bias).chunk(3, dim=-1)
    else:
        queries, keys, _ = attention.qkv(tokens).chunk(3, dim=-1)
    queries, keys = (each.unflatten(2, (-1, attention.head_dim)).transpose(1, 2) for each in (queries, keys))
    return attention.q_norm(queries), attention.k_norm(keys)


def read_attention(attention: Any, arguments: tuple, named: dict[str, Any]) -> QueriesKeys:  # noqa: ANN401 (one of READABLE)
    """Return what an attention module of READABLE computes when it is called with these arguments."""
    tokens = arguments[0]
    queries, plain_keys = _projected(attention, tokens)
    keys = plain_keys
    rope = None if isinstance(attention, Attention) else named.get("rope", arguments[1] if len(arguments) > 1 else None)
    if rope is not None:
        prefix = attention.num_prefix_tokens
        queries, keys = (
            torch.cat(
                [each[:, :, :prefix], apply_rot_embed_cat(each[:, :, prefix:], rope, half=attention.rotate_half)], dim=2
            )
            for each in (queries, keys)
        )
    groups = queries.shape[1] // keys.shape[1]  # of heads that share their keys
    return QueriesKeys(queries.float(), keys.float().repeat_interleave(groups, dim=1), plain_keys.float())


def class_attention(read: QueriesKeys) -> torch.Tensor:
    """Return float32 (B, heads, T): the attention of the first token, softmax(q_0 k^T / sqrt(d)), to all tokens."""
    scale = read.queries.shape[-1] ** -0.5
    return (scale * read.queries[:, :, :1] @ read.keys.transpose(-2, -1)).softmax(dim=-1)[:, :, 0]
