"""Trial: wrong files of every kind that the commands read, both well-formed and malformed.

    python scripts/trials/wrong_files.py                      # all; about ten minutes
    python scripts/trials/wrong_files.py --only '^map' --verbose
    python scripts/trials/wrong_files.py --count 100          # a sample drawn with --seed

Each file must be refused with exit code 2 and one message that names it, or accepted if it is valid after all. Memory must
stay within 3 GB, no library may print a warning, and nothing may change. The tables are in wrong_metadata.py,
wrong_texts.py, wrong_checkpoints.py and wrong_pictures.py.
"""

import random
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from scripts.trials.common import Case, import_commands, run_cases
from scripts.trials.report import finish, trial_options
from scripts.trials.workspace import BASE, make_workspace
from scripts.trials.wrong_checkpoints import torch_cases
from scripts.trials.wrong_metadata import metadata_cases
from scripts.trials.wrong_pictures import archive_cases, picture_cases
from scripts.trials.wrong_texts import text_cases


def all_cases() -> list[Case]:
    """Return all cases."""
    return [*metadata_cases(), *text_cases(), *torch_cases(), *picture_cases(), *archive_cases()]


def main() -> None:
    """Run the trial."""
    options = trial_options(__doc__, count={"type": int, "default": 0, "help": "cases drawn with --seed; 0: all (default)"})
    cases = [case for case in all_cases() if re.search(options.only, case.name)]
    if 0 < options.count < len(cases):
        chosen = random.Random(options.seed).sample(range(len(cases)), options.count)
        cases = [cases[i] for i in sorted(chosen)]
    with tempfile.TemporaryDirectory() as scratch:
        template, folder = Path(scratch, "template"), Path(scratch, "work")
        import_commands(BASE)
        make_workspace(template)
        finish(run_cases(cases, template, folder), options, "wrong files")


if __name__ == "__main__":
    main()
