#!/usr/bin/env python3
"""Are the figures of a run plausible, measured by the portable example's? Usage: check_figures.py FILE

FILE holds JSON with the run's figures: report.json as it is published, or the run's outputs; `-` is standard input. Ends
with status 1, and says why, when they are not. Meant for the default parameters."""

import json
import math
import sys
from pathlib import Path

# The portable example at its stable pass, and biases alone on the same split of the same ratings.
PORTABLE_RMSE, BASELINE = 0.8763, 0.8853
# MLlib weighs the penalty by the number of ratings, the portable example does not: they end near each other, not alike.
RMSE_APART_MAX = 0.01
# The split and the biases are the same computation in both examples.
BASELINE_APART_MAX = 0.0005
STABILITY_BOUND = 0.3
PASSES = range(2, 6)
REGIONS = ["BR", "DE", "GB", "IS", "JP", "NZ", "US"]


def objections(figures):
    """What is not plausible about these figures."""
    found = []

    def expect(holds, text):
        if not holds:
            found.append(text)

    def number(name):
        value = figures.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan

    rmse, selected, baseline = number("rmse_global"), number("rmse"), number("baseline")
    expect(
        abs(rmse - PORTABLE_RMSE) <= RMSE_APART_MAX,
        f"rmse_global {rmse:.4f} is more than {RMSE_APART_MAX} from the {PORTABLE_RMSE} of the portable example",
    )
    expect(
        abs(baseline - BASELINE) <= BASELINE_APART_MAX,
        f"baseline {baseline:.4f} is not the {BASELINE} of the portable example: other ratings, or another split",
    )
    expect(rmse < baseline, f"rmse_global {rmse:.4f} is not below the {baseline:.4f} of biases alone")
    expect(selected <= rmse, f"rmse {selected:.4f} of what was selected is above the {rmse:.4f} of the global model")
    apart = number("disagreement")
    expect(apart <= STABILITY_BOUND, f"the halves' models are {apart:.4f} apart, more than {STABILITY_BOUND}")
    passes = number("passes")
    expect(passes in PASSES, f"{passes} passes, expected {PASSES.start} to {PASSES.stop - 1}")
    chosen = figures.get("chosen")
    regions = sorted(chosen) if isinstance(chosen, dict) else []
    expect(regions == REGIONS, f"regions {', '.join(regions) or 'none'}, expected {', '.join(REGIONS)}")
    return found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = sys.stdin.read() if sys.argv[1] == "-" else Path(sys.argv[1]).read_text(encoding="utf-8")
    found = objections(json.loads(text))
    for each in found:
        print(f"check_figures: {each}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("check_figures: plausible")


if __name__ == "__main__":
    main()
