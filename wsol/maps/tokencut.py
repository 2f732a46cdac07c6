"""TokenCut: the second eigenvector of the normalised cut of an image's patches.

Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022. In:
descriptors of all positions. Out: a map that is high on the object. With w_pq = 1 where the cosine of the descriptors of p
and q is at least tau, otherwise 1e-5, and d_p = sum_q w_pq, the map is the eigenvector y of the second smallest eigenvalue
of

    (D - W) y = lambda D y

The sign of an eigenvector is arbitrary. The two sides of y are the positions above its mean and the others, as in the paper.
The object is the side with fewer positions on the image's border; only if both have the same number does the paper's rule
decide, the side that holds the largest |y|. By the paper's rule alone the object is the smaller side, so the map of an
object that fills more than half of the image is inverted.
"""

import numpy as np
import scipy.linalg
import torch

from wsol.maps.agnostic import AgnosticMapper
from wsol.networks.last_attention import QueriesKeys

TAU = 0.2  # the least cosine of an edge, the paper's
WEAK = 1e-5  # the weight of all other pairs, so that the graph is connected, the paper's


def affinities(descriptors: np.ndarray) -> np.ndarray:
    """Return float64 (N, N): the weights of the graph of descriptors (C, N)."""
    length = np.linalg.norm(descriptors, axis=0)
    unit = descriptors / np.where(length > 0, length, 1)
    return np.where(unit.T @ unit >= TAU, 1.0, WEAK)


def second_eigenvector(weights: np.ndarray) -> np.ndarray:
    """Return float64 (N,): y of the second smallest eigenvalue, of any sign; zeros where all positions are alike.

    weights: symmetric float (N, N), positive.
    """
    apart = weights[~np.eye(len(weights), dtype=bool)]
    if not len(apart) or (apart == apart[0]).all():  # no cut is better than another
        return np.zeros(len(weights))
    scale = weights.sum(axis=1) ** -0.5
    laplacian = np.eye(len(weights)) - scale[:, None] * weights * scale
    return scale * scipy.linalg.eigh(laplacian, subset_by_index=[1, 1])[1][:, 0]


def with_sign(vector: np.ndarray) -> np.ndarray:
    """Return an eigenvector (h, w) or its negative, so that the object is its upper side (see the module)."""
    upper = vector > vector.mean()
    border = np.ones(vector.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    on_border = int(upper[border].sum()), int((~upper)[border].sum())
    if on_border[0] == on_border[1]:
        return vector if upper.flat[np.abs(vector).argmax()] else -vector
    return vector if on_border[0] < on_border[1] else -vector


class TokenCut(AgnosticMapper):
    """A mapper whose raw maps are TokenCut's eigenvectors; they are computed on the CPU, one image at a time."""

    def maps_of(self, features: torch.Tensor, read: QueriesKeys | None) -> torch.Tensor:
        """Return (B, h, w)."""
        descriptors = self.descriptors(features, read)
        vectors = [second_eigenvector(affinities(one)) for one in descriptors.flatten(2).cpu().numpy()]
        maps = np.stack([with_sign(vector.reshape(descriptors.shape[2:])) for vector in vectors])
        return torch.from_numpy(maps).to(features.device)
