"""How much to believe a box: its expected IoU and the probability that it reaches 50 %, from signs that need no truth.

In: signs of validation images (wsol/metrics/map_signs.py) and the IoU that their boxes had. Out: a `Calibration`, a few
plain numbers that a checkpoint holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from wsol.core.plain_values import is_number

LEAST_IMAGES = 40  # fewer do not tell a dozen signs apart
FOLDS = 5
REACHED = 0.5  # the IoU that counts as right, as in GT-known


class Belief(NamedTuple):
    """What to expect of a box: the mean IoU of such boxes, and how many of them have an IoU of 50 % or more."""

    expected_iou: float
    reaches_50: float


@dataclass(frozen=True)
class Logistic:
    """A logistic function of standardised signs z: 1 / (1 + exp(-(intercept + sum_i coefficients_i z_i)))."""

    intercept: float
    coefficients: tuple[float, ...]

    def __call__(self, standardised: np.ndarray) -> np.ndarray:
        """Return float64 (n,) for float64 (n, number of signs)."""
        return 1 / (1 + np.exp(-(self.intercept + standardised @ np.array(self.coefficients))))


@dataclass(frozen=True)
class Calibration:
    """Two logistic functions of signs.

    signs: their names.
    low, high: each sign's range on the calibration images; values beyond are moved to it.
    mean, scale: z = (sign - mean) / scale.
    """

    signs: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    expected_iou: Logistic
    reaches_50: Logistic

    def predict(self, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (expected IoU, probability of an IoU of 50 % or more), float64 (n,), of signs (n, number of signs)."""
        inside = np.asarray(signs, dtype=np.float64).clip(self.low, self.high)
        standardised = (inside - np.array(self.mean)) / np.array(self.scale)
        return self.expected_iou(standardised), self.reaches_50(standardised)

    @property
    def constants(self) -> tuple[str, ...]:
        """The beliefs that are the same for every box."""
        return tuple(name for name in Belief._fields if not any(getattr(self, name).coefficients))

    def belief(self, signs: Sequence[float]) -> Belief:
        """Return what to expect of one box."""
        expected, reaches = self.predict(np.array([signs]))
        return Belief(float(expected[0]), float(reaches[0]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return _lists(asdict(self))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calibration":
        """Return the calibration of `to_dict`.

        Raises:
            ValueError: it is not one, says why.
        """
        names = content.get("signs")
        if set(content) != set(cls.__dataclass_fields__):
            raise ValueError(f"the fields {', '.join(sorted(map(str, content)))}")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError("signs: no list of names")
        vectors = {name: _numbers(name, content[name], len(names)) for name in ("low", "high", "mean", "scale")}
        if min(vectors["scale"]) <= 0 or any(low > high for low, high in zip(vectors["low"], vectors["high"], strict=True)):
            raise ValueError("scale that is not above 0, or low above high")
        curves = {}
        for name in ("expected_iou", "reaches_50"):
            curve = content[name]
            if not isinstance(curve, dict) or set(curve) != {"intercept", "coefficients"}:
                raise ValueError(f"{name}: no intercept and coefficients")
            (intercept,) = _numbers(name, [curve["intercept"]], 1)
            curves[name] = Logistic(intercept, _numbers(name, curve["coefficients"], len(names)))
        return cls(
            tuple(names),
            vectors["low"],
            vectors["high"],
            vectors["mean"],
            vectors["scale"],
            curves["expected_iou"],
            curves["reaches_50"],
        )


def _lists(value: Any) -> Any:  # noqa: ANN401 (nested plain values)
    if isinstance(value, dict):
        return {name: _lists(part) for name, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _numbers(name: str, values: object, count: int) -> tuple[float, ...]:
    if not (isinstance(values, list) and len(values) == count and all(map(is_number, values))):
        raise ValueError(f"{name}: not {count} numbers")
    return tuple(map(float, values))


def fit_calibration(names: Sequence[str], signs: np.ndarray, ious: np.ndarray) -> Calibration:
    """Return the calibration of signs, float (n, number of names), to the IoUs that the boxes had, float (n,) in [0, 1].

    The probability is a logistic regression of IoU >= 0.5 on the standardised signs. The expected IoU is one too, where each
    image counts as right with weight IoU and as wrong with weight 1 - IoU (a fractional response: Papke and Wooldridge,
    1996). Both are regularised by scikit-learn's default, half the squared norm of the coefficients.
    """
    low, high = signs.min(axis=0), signs.max(axis=0)
    mean, scale = signs.mean(axis=0), signs.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    standardised = (signs - mean) / scale
    right = (ious >= REACHED).astype(np.float64)
    low, high, mean, scale = (tuple(values.tolist()) for values in (low, high, mean, scale))
    return Calibration(tuple(names), low, high, mean, scale, _fit(standardised, ious), _fit(standardised, right))


def constant(shares: np.ndarray, signs: int) -> Logistic:
    """Return the mean of outcomes, float (n,) in [0, 1], as a function of so many signs, which it does not depend on.

    By Laplace's rule of succession: (sum + 1) / (n + 2).
    """
    right, wrong = shares.sum() + 1, (1 - shares).sum() + 1
    return Logistic(float(np.log(right / wrong)), (0.0,) * signs)


def _fit(standardised: np.ndarray, shares: np.ndarray) -> Logistic:
    """Return the logistic regression of outcomes that are right by `shares`, float (n,) in [0, 1]."""
    count = len(shares)
    if not 0 < shares.sum() < count:  # nothing to learn from
        return constant(shares, standardised.shape[1])
    from sklearn.linear_model import LogisticRegression  # a second to load, for the few who calibrate

    outcomes = np.repeat([1, 0], count)
    weights = np.concatenate([shares, 1 - shares])
    model = LogisticRegression(max_iter=1000).fit(np.tile(standardised, (2, 1)), outcomes, weights)
    return Logistic(float(model.intercept_[0]), tuple(map(float, model.coef_[0])))


def folds_of(count: int, seed: int) -> np.ndarray:
    """Return int64 (count,): each image's fold, of FOLDS of nearly the same size, drawn from the seed."""
    return np.random.default_rng(seed).permutation(np.arange(count) % FOLDS)
