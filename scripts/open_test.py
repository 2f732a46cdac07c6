"""Evaluates finished runs on the test split, from their checkpoints; nothing is trained.

    python scripts/open_test.py train_log/my_run

For runs of main.py with --eval_test FALSE. A run below a sweep is evaluated by the sweep, which records it first:
here it is refused unless the sweep's protocol.json states the intent. The results are those of a run with --eval_test TRUE.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (before torch, whose threads it tells to sleep while they wait)

# isort: split
import torch

from wsol.core.arguments import Parser, path
from wsol.core.errors import InputError, command
from wsol.core.files import file_hash
from wsol.core.log import start_logging
from wsol.core.machine import resolve_threads, use_threads
from wsol.core.options import AUTO
from wsol.networks.device import resolve_device, use_tf32
from wsol.runs.open_test import chosen_checkpoint, open_test, require_unopened
from wsol.runs.predictor import restore
from wsol.runs.run_folder import LOG, RESULTS
from wsol.sweeps.protocol import NAME, read_protocol


def check_intent(run: Path) -> None:
    """Raise InputError if a run belongs to a sweep that has not recorded the intent to open test for this checkpoint."""
    place = run.resolve()  # the run may be given as "." or by a link
    protocol = read_protocol(place.parent)
    if protocol is None:
        return
    known = protocol.test_runs.get(place.name)
    if known is None:
        raise InputError(f"{run}: {place.parent / NAME} states no intent to open test for it; expected sweep.py to open it")
    if known["sha256"] != file_hash(chosen_checkpoint(run)):
        raise InputError(f"{run}: its checkpoint is not the one in {place.parent / NAME}; expected that one")


@command
def main() -> None:
    """Evaluate runs on test."""
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", type=path, metavar="FOLDER")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    options = parser.parse_args()
    runs = {run.resolve(): run for run in options.runs}.values()  # each once, however often it is named
    for run in runs:
        require_unopened(run)
        check_intent(run)
    for run in runs:
        predictor = restore(chosen_checkpoint(run))
        config = predictor.config
        use_threads(resolve_threads(config.get("threads", AUTO)))
        device = resolve_device(options.device, config.get("amp", "off"))
        use_tf32(config.get("tf32", False))
        if device.type == "cpu":
            torch.use_deterministic_algorithms(True)
        start_logging(run / LOG).info("test, from the checkpoint of epoch %d", predictor.epoch)
        open_test(run, predictor, device, config.workers)
        print(f"written: {run / RESULTS}")


if __name__ == "__main__":
    main()
