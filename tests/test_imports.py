import subprocess
import sys

from conftest import CHECKOUT


def test_evaluation_needs_no_torch():
    """It starts in a fraction of a second, and its worker processes stay small."""
    code = "import sys, evaluation; sys.exit(sorted(name for name in sys.modules if name.split('.')[0] == 'torch')[:1] or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
