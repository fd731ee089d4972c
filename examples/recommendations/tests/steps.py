"""Makes the steps' modules importable for the tests, wherever these are started from."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "steps"
sys.path.insert(0, str(FOLDER))
