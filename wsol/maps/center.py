"""Center: the baseline that does not see the image, a Gaussian in the middle (Choe et al., CVPR 2020)."""

import numpy as np

SIGMA = 60 / 224  # of the map's side; every sigma of at least 40 px at 224 gives the published figures


def center_map(height: int, width: int) -> np.ndarray:
    """Return float64 (height, width) in [0, 1]: an isotropic Gaussian centred at ((H-1)/2, (W-1)/2), min-max normalised.

    Sigma is 60 px at a side of 224 and grows with the map: s(x, y) = exp(-(u^2 + v^2) / 2), u and v the distances from the
    centre in sigmas.

    >>> center_map(3, 3).round(2).tolist()
    [[0.0, 0.32, 0.0], [0.32, 1.0, 0.32], [0.0, 0.32, 0.0]]
    """
    y = (np.arange(height) - (height - 1) / 2) / (SIGMA * height)
    x = (np.arange(width) - (width - 1) / 2) / (SIGMA * width)
    gaussian = np.exp(-(y[:, None] ** 2 + x**2) / 2)
    spread = gaussian.max() - gaussian.min()
    return (gaussian - gaussian.min()) / spread if spread else np.zeros((height, width))
