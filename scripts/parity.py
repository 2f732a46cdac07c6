"""Relative errors of every architecture and method against what the original networks compute:

    python scripts/parity.py FOLDER        # prints a Markdown table; docs/methods.md has one

FOLDER holds the reference data, which is not part of the repository: expected.json, expected.npz, and fill.py, which makes
weights and images from names and a seed. Takes about two minutes.
"""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from numpy.typing import ArrayLike

from wsol import build_model, load_wsolevaluation_state_dict
from wsol.core.arguments import Parser
from wsol.core.errors import command
from wsol.core.files import check_input, read_json
from wsol.methods.method import Method

MAPS, FIGURES = 1e-4, 1e-3  # largest relative error of logits and raw maps; of losses and gradient norms
# The one known exception: in this case's train mode, a pixel of the side branches' mean lies so near SPG's third high
# threshold that rounding in the network decides on which side it falls, which is 0.2 % of the gradient norm. With the
# threshold lower by this much it is on the original's side; the table shows both, and what counts is the case as it is.
EDGE_CASE, ROUNDING = "resnet50_spg_14", 1e-5


def relative_error(got: ArrayLike, wanted: ArrayLike) -> float:
    """Return the largest absolute difference over the largest wanted value."""
    difference = np.abs(np.asarray(got, dtype=np.float64) - np.asarray(wanted, dtype=np.float64))
    return float(difference.max() / np.abs(wanted).max())


class Reference:
    """The reference data of a folder; `cases` are the names `<architecture>_<method>_<map side>`."""

    def __init__(self, folder: Path):
        self.fill = SimpleNamespace(**runpy.run_path(str(check_input(folder / "fill.py"))))
        self.golden = read_json(folder / "expected.json")
        self.arrays = np.load(check_input(folder / "expected.npz"))
        self.cases = tuple(self.golden["cases"])
        self.images = torch.from_numpy(self.fill.images(self.golden["seed"], self.golden["image_size"]))
        self.labels = torch.tensor(self.golden["labels"])

    def state_dict(self, case: str) -> dict[str, torch.Tensor]:
        """Return a case's weights under the original names."""
        shapes, seed = self.golden["cases"][case]["keys"], self.golden["seed"]
        return {name: torch.from_numpy(self.fill.fill(name, tuple(shape), seed)) for name, shape in shapes.items()}

    def model(self, case: str, **options: Any) -> Method:
        """Return our model with a case's weights."""
        architecture, method, side = case.rsplit("_", 2)
        options = {**{name: self.golden[name] for name in ("acol_threshold", "adl_threshold", "spg_thresholds")}, **options}
        model = build_model(architecture, method, self.golden["num_classes"], large_feature_map=side == "28", **options)
        load_wsolevaluation_state_dict(model, self.state_dict(case))
        return model

    def errors(self, case: str) -> dict[str, float]:
        """Return every figure's relative error."""
        figures = self.golden["cases"][case]
        model = self.model(case).eval()
        with torch.no_grad():
            outputs = model(self.images, self.labels)
            found = {
                "logits": relative_error(outputs["logits"], self.arrays[f"{case}/logits"]),
                "map": relative_error(model.raw_maps(outputs, self.labels), self.arrays[f"{case}/cam"]),
            }
            if "logits_b" in outputs:
                found["second logits"] = relative_error(outputs["logits_b"], self.arrays[f"{case}/logit_b"])
            found["loss"] = relative_error(model.loss(outputs, self.labels).item(), figures["loss"])
            for rate in (0, 1):
                if wanted := figures.get(f"train_loss_drop_rate_{rate}"):
                    trained = self.model(case, adl_drop_rate=rate).train()
                    loss = trained.loss(trained(self.images, self.labels), self.labels)
                    found[f"train loss, drop rate {rate}"] = relative_error(loss.item(), wanted)
        if "train_loss" in figures:
            found |= self.train_errors(case)
        return found

    def edge_errors(self) -> dict[str, float]:
        """Return the train-mode errors of EDGE_CASE with SPG's third high threshold lower by ROUNDING."""
        *others, (high, low) = self.golden["spg_thresholds"]
        return self.train_errors(EDGE_CASE, spg_thresholds=[*others, (high - ROUNDING, low)])

    def train_errors(self, case: str, **options: Any) -> dict[str, float]:
        """Return the relative errors of loss and gradient norm in train mode; `options` as of `build_model`."""
        figures = self.golden["cases"][case]
        model = self.model(case, **options).train()
        loss = model.loss(model(self.images, self.labels), self.labels)
        loss.backward()
        norm = torch.stack([parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]).norm()
        return {
            "train loss": relative_error(loss.item(), figures["train_loss"]),
            "gradient norm": relative_error(norm.item(), figures["train_grad_norm"]),
        }


def tolerance(name: str) -> float:
    """Return the largest relative error that counts as agreement."""
    return MAPS if name in ("logits", "second logits", "map") else FIGURES


def row(name: str, errors: dict[str, float]) -> tuple[str, bool]:
    """Return a case's line of the table, and whether all its figures agree."""
    agrees = all(error < tolerance(figure) for figure, error in errors.items())
    columns = (("logits", "second logits"), ("map",), ("loss",), ("train",), ("gradient",))
    largest = (max((e for figure, e in errors.items() if figure.startswith(starts)), default=None) for starts in columns)
    shown = " | ".join("" if error is None else f"{error:.1e}" for error in largest)
    return f"| {name} | {shown} | {'yes' if agrees else 'no'} |", agrees


@command
def main() -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path)
    reference = Reference(parser.parse_args().folder)
    print("| case | logits | map | loss | train loss | gradient norm | agrees |\n" + "| --- " * 7 + "|")
    agreeing = 0
    for case in reference.cases:
        line, agrees = row(case, reference.errors(case))
        agreeing += agrees
        print(line, flush=True)
        if case == EDGE_CASE:
            print(row(f"{case}, one threshold lower by {ROUNDING:g}", reference.edge_errors())[0], flush=True)
    print(f"\n{agreeing} of {len(reference.cases)} cases agree")


if __name__ == "__main__":
    main()
