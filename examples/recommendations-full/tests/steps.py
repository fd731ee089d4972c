"""Makes the steps' modules and the SDK importable for the tests, wherever these are started from."""

import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent
ROOT = EXAMPLE.parent.parent
FOLDER = EXAMPLE / "steps"
sys.path[:0] = [str(FOLDER), str(ROOT / "python")]
