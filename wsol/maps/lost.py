"""LOST: a seed where an image correlates least with itself, expanded.

Simeoni et al., "Localizing Objects with Self-Supervised Transformers and no Labels", BMVC 2021. In: a descriptor f_p of
every position. Out: a map that is positive on the object. With d_p the number of positions q with f_p f_q >= 0, the seed s
is the position of the smallest d_p: objects are smaller than backgrounds, so few positions resemble them. D_k are the k
positions of the smallest d_p, and S are those p of D_k with f_p f_s >= 0. The map is

    M(p) = sum_{q in S} f_q f_p

The paper keeps the component of M >= 0 that holds the seed. Here the sum itself is the map, so that a threshold still has
something to choose. The paper has k = 100 for about 800 patches; here k is an eighth of the positions, at any resolution.
"""

import torch

from wsol.maps.agnostic import AgnosticMapper
from wsol.networks.last_attention import QueriesKeys

SHARE = 1 / 8  # of the positions that may belong to the seed's set


def lost_maps(descriptors: torch.Tensor, share: float = SHARE) -> torch.Tensor:
    """Return float64 (B, h, w), M of descriptors (B, C, h, w); of equal d_p the first position in reading order is taken."""
    flat = descriptors.double().flatten(2)
    products = flat.transpose(1, 2) @ flat  # (B, N, N)
    degrees = (products >= 0).sum(dim=2)
    count = max(1, round(share * products.shape[1]))
    order = degrees.argsort(dim=1, stable=True)
    seed = order[:, :1]
    members = torch.zeros_like(degrees, dtype=torch.float64).scatter(1, order[:, :count], 1.0)
    members *= products.gather(1, seed[:, :, None].expand(-1, -1, products.shape[2]))[:, 0] >= 0
    return torch.einsum("bq,bqp->bp", members, products).unflatten(1, descriptors.shape[2:])


class Lost(AgnosticMapper):
    """A mapper whose raw maps are LOST's sums."""

    def maps_of(self, features: torch.Tensor, read: QueriesKeys | None) -> torch.Tensor:
        """Return (B, h, w)."""
        return lost_maps(self.descriptors(features, read))
