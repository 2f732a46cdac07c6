"""What experiments cost: runs, images and hours on one GPU of every spec, estimated before anything is run.

    python scripts/cost.py scripts/experiments/glol_*.yaml [--peak 494.7] [--utilisation 0.15]

In: specs (docs/sweeps.md). Out: Markdown tables. The papers' data sets need not be there: their numbers of images are the
published ones. Another data set's come from its metadata. docs/costs.md says what is assumed.
"""

import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

from config import LOG_ROOT, PRESETS
from dataset.known import require_dataset
from option_tables import training_groups
from scripts.published import PUBLISHED, published_images, write_stand_in
from wsol.core.arguments import Parser, number
from wsol.core.errors import InputError, command
from wsol.core.options import by_name
from wsol.data.levels import load_level
from wsol.runs.run_tables import markdown_table
from wsol.sweeps.cost import Assumptions, Cost, Images, Operations, by_supervision, count_operations, plan_cost
from wsol.sweeps.plan import make_plan
from wsol.sweeps.spec import read_spec

ASSUMED = {  # name: (default, help)
    "peak": (494.7, "TFLOP/s of the GPU; the default is an H100's (SXM) in TF32, dense, from its data sheet"),
    "utilisation": (0.15, "share of the peak that a training reaches"),
    "loaded": (1600.0, "images that the loader gives per second, on 16 cores"),
    "seconds_per_run": (60.0, "seconds of a run's start and end"),
}
DATA = (
    "metadata_root",
    "dataset_name",
    "label_level",
    "proxy_training_set",
    "num_val_sample_per_class",
    "num_train_sample_per_class",
    "seed",
    "coarsening",
    "train_sample_level",
)


@cache
def counted_images(*values: Any) -> Images:
    """Return the images of a run from the metadata of its data set; `values` are those of the options DATA."""
    root, name, level, *drawn = values
    splits = load_level(root, name, level, ("train", "val", "test"), *drawn).splits
    return Images(**{split: len(found.image_ids) for split, found in splits.items()})


class Estimator:
    """The cost of specs under some assumptions, and the operations that were counted for it, by network."""

    def __init__(self, assumed: Assumptions, stand_ins: Path):
        self.assumed, self.stand_ins = assumed, stand_ins
        self.table = by_name(training_groups())
        self.defaults = {name: option.initial for name, option in self.table.items()}
        self.operations: dict[tuple, Operations] = {}

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a run with its data set's preset and the defaults."""
        return {**self.defaults, **PRESETS.get(options.get("dataset_name", "Toy"), {}), **options}

    def images(self, options: Mapping[str, Any]) -> Images:
        """Return the images of a run."""
        published = options["dataset_name"] in PUBLISHED
        images = published_images(options) if published else counted_images(*(options[name] for name in DATA))
        return by_supervision(options["wsol_method"], images, options["fsl_val_share"])

    def count(self, options: Mapping[str, Any]) -> Operations:
        """Return the operations of a run's network per image."""
        network = tuple(options[name] for name in ("architecture", "wsol_method", "large_feature_map", "crop_size"))
        if network not in self.operations:
            self.operations[network] = count_operations(*network)
        return self.operations[network]

    def cost(self, path: Path) -> Cost:
        """Return the cost of a spec.

        Raises:
            InputError: the spec is not valid, or its data set is neither published nor in the metadata.
        """
        given = self.complete(read_spec(path, self.table).options)
        name, root = given["dataset_name"], given["metadata_root"]
        if name in PUBLISHED:
            root = str(self.stand_ins)
            write_stand_in(self.stand_ins / name, PUBLISHED[name])
        else:
            require_dataset(root, name)
        plan = make_plan(read_spec(path, self.table, {"metadata_root": root}), self.table, Path(LOG_ROOT))
        return plan_cost(plan, self.complete, self.images, self.count, self.assumed)


def cost_row(name: str, cost: Cost) -> dict[str, object]:
    """Return a row of the table of costs."""
    millions = {"trained on, millions": cost.trained / 1e6, "mapped, millions": cost.mapped / 1e6}
    return {"spec": name, "runs": cost.runs, "only mapped": cost.only_mapped, **millions, "hours": cost.hours}


def operations_row(network: tuple, counted: Operations) -> dict[str, object]:
    """Return a row of the table of operations, in units of 10^9 per image."""
    architecture, method, large, crop = network
    names = {"architecture": architecture, "method": method, "map": "large" if large else "small", "input": crop}
    return {**names, "training step": counted.train / 1e9, "forward": counted.forward / 1e9}


@command
def main() -> None:
    """Print the cost of some specs."""
    parser = Parser(__doc__)
    parser.add_argument("specs", nargs="+", metavar="SPEC", type=Path, help="YAML files of sweeps")
    for name, (default, text) in ASSUMED.items():
        parser.add_argument(f"--{name}", type=number, default=default, help=f"{text} (default: {default:g})")
    options = parser.parse_args()
    for name in ("peak", "utilisation", "loaded"):
        if getattr(options, name) <= 0:
            raise InputError(f"--{name} {getattr(options, name):g}: expected a number above 0")
    assumed = Assumptions(options.peak * 1e12, options.utilisation, options.loaded, options.seconds_per_run)
    with tempfile.TemporaryDirectory() as folder:
        estimator = Estimator(assumed, Path(folder))
        costs = {path.stem: estimator.cost(path) for path in options.specs}
    print(markdown_table([cost_row(*item) for item in costs.items()]))
    print("\nOperations per image, in units of 10^9\n")
    print(markdown_table([operations_row(*item) for item in sorted(estimator.operations.items())]))


if __name__ == "__main__":
    main()
