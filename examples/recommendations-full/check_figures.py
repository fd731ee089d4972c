#!/usr/bin/env python3
"""Is what a run published plausible, and are its figures those that this example is known for? Usage: check_figures.py REPORT

REPORT is the report.json of a run, with the rest of the package beside it. Ends with status 1, and says why, when it is not
plausible. Meant for the default parameters, of which `regularisation` may be another that leads to the same last pass."""

import csv
import hashlib
import json
import math
import sys
from pathlib import Path

# The cohort as the data has it.
COHORT = {"users": 553, "movies": 9044, "ratings": 97264}
# The global model at its stable pass: seeds are fixed, so only last digits differ from machine to machine.
RMSE, RMSE_APART_MAX = 0.8791, 0.003
# Biases alone on the same split of the same ratings, by the same computation as in the portable example.
BASELINE, BASELINE_APART_MAX = 0.8853, 0.0005
# A model whose factors are next to nothing is no better than biases.
GAIN_MIN = 0.003
REGULARISATION, STABILITY_BOUND = 0.24, 0.3
# A single pass shows nothing of what is carried from one to the next.
PASSES = range(2, 6)
REGIONS = ["BR", "DE", "GB", "IS", "JP", "NZ", "US"]
# No region has a taste of its own, so its model ought to be worse than the global one, and not by worlds.
RMSE_REGIONAL_MIN, RMSE_REGIONAL_MAX, REGIONAL_GAIN_MAX = 0.8, 1.3, 0.02
# Roots of the same sums in another order may differ in their last digit.
ROUNDING = 1e-9


class Objections(list):
    """What is not plausible."""

    def expect(self, holds, text):
        """Objects when it does not hold, which what is compared with NaN does not."""
        if not holds:
            self.append(text)


def number(figures, name):
    """A number of that name, or NaN."""
    value = figures.get(name) if isinstance(figures, dict) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def check_result(figures, found):
    """What the last pass came to."""
    names = ("rmse_global", "rmse", "baseline", "disagreement", "passes")
    rmse, selected, baseline, apart, passes = (number(figures, name) for name in names)
    found.expect(figures.get("cohort") == COHORT, f"cohort {figures.get('cohort')}, expected {COHORT}")
    found.expect(
        abs(baseline - BASELINE) <= BASELINE_APART_MAX,
        f"baseline {baseline:.4f} is not the {BASELINE} of the portable example: other ratings, or another split",
    )
    found.expect(abs(rmse - RMSE) <= RMSE_APART_MAX, f"rmse_global {rmse:.4f} is more than {RMSE_APART_MAX} from {RMSE}")
    found.expect(
        baseline - rmse >= GAIN_MIN, f"rmse_global {rmse:.4f} is not {GAIN_MIN} below the {baseline:.4f} of biases alone"
    )
    found.expect(
        selected <= rmse + ROUNDING, f"rmse {selected:.4f} of what was selected is above the {rmse:.4f} of the global model"
    )
    found.expect(apart <= STABILITY_BOUND, f"the halves' models are {apart:.4f} apart, more than {STABILITY_BOUND}")
    found.expect(passes in PASSES, f"{passes} passes, expected {PASSES.start} to {PASSES.stop - 1}")


def check_history(figures, found):
    """What the passes carried on, from each to the next: without that they would be alike."""
    history, passes = figures.get("history"), figures.get("passes")
    history = history if isinstance(history, list) else []
    found.expect([number(each, "number") for each in history] == list(range(1, len(history) + 1)), "history is out of order")
    found.expect(history and len(history) == passes, f"history of {len(history)} passes, {passes} were made")
    for one, next_one in zip(history, history[1:]):
        place = f"from pass {number(one, 'number')} to the next"
        first, second = number(one, "regularisation"), number(next_one, "regularisation")
        found.expect(math.isclose(second, 2 * first), f"regularisation goes {place} from {first} to {second}, not to twice that")
        first, second = number(one, "disagreement"), number(next_one, "disagreement")
        found.expect(second < first, f"disagreement goes {place} from {first:.4f} to {second:.4f}, and ought to fall")
        found.expect(one.get("objections"), f"nothing spoke against pass {number(one, 'number')}, and there was another")
    if history:
        last = history[-1]
        found.expect(last.get("objections") == [], f"the last pass has objections: {last.get('objections')}")
        for name in ("regularisation", "rmse", "disagreement", "baseline"):
            found.expect(number(last, name) == number(figures, name), f"{name} in the last line of history is another")
    strength = number(figures, "regularisation")
    found.expect(
        math.isclose(strength, REGULARISATION), f"stable with regularisation {strength}, expected {REGULARISATION}"
    )


def check_regions(figures, found):
    """That each region had a model of its own, which was compared with the global one."""
    chosen = figures.get("chosen")
    chosen = chosen if isinstance(chosen, dict) else {}
    found.expect(sorted(chosen) == REGIONS, f"regions {', '.join(sorted(chosen)) or 'none'}, expected {', '.join(REGIONS)}")
    found.expect(figures.get("missing") == [], f"regions without a model of their own: {figures.get('missing')}")
    for region, choice in sorted(chosen.items()):
        own, everywhere = number(choice, "rmse_regional"), number(choice, "rmse_global")
        found.expect(
            RMSE_REGIONAL_MIN <= own <= RMSE_REGIONAL_MAX,
            f"rmse_regional {own:.4f} of {region} is not within {RMSE_REGIONAL_MIN} to {RMSE_REGIONAL_MAX}",
        )
        found.expect(
            own >= everywhere - REGIONAL_GAIN_MAX,
            f"rmse_regional {own:.4f} of {region} is far below the {everywhere:.4f} of the global model",
        )


def objections(figures):
    """What is not plausible about the figures of a report."""
    found = Objections()
    check_result(figures, found)
    check_history(figures, found)
    check_regions(figures, found)
    return found


def check_package(folder, figures):
    """What is wrong with the files that were published."""
    found = Objections()
    sums = folder / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {path.name: path for path in folder.iterdir() if path != sums}
    won = {f"region-{region}.rds" for region, choice in figures["chosen"].items() if choice["model"] == region}
    wanted = {"report.json", "report.md", "global.json", "global-users.csv", "global-movies.csv"} | won
    found.expect(set(files) == wanted, f"files {', '.join(sorted(files))}, expected {', '.join(sorted(wanted))}")
    found.expect(set(files) == set(expected), f"checksums of {', '.join(sorted(expected)) or 'nothing'}")
    for name in sorted(set(files) & set(expected)):
        digest = hashlib.sha256(files[name].read_bytes()).hexdigest()
        found.expect(digest == expected[name], f"{name} has another checksum")
    for name, count in [("users", COHORT["users"]), ("movies", COHORT["movies"])]:
        table = files.get(f"global-{name}.csv")
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines())) if table else []
        found.expect(len(rows) == count, f"{len(rows)} rows in global-{name}.csv, expected {count}")
        known = [row for row in rows if any(float(value) for key, value in row.items() if key.startswith("factor"))]
        found.expect(2 * len(known) > count, f"only {len(known)} rows with factors in global-{name}.csv")
    return found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    report = Path(sys.argv[1])
    figures = json.loads(report.read_text(encoding="utf-8"))
    # The files are compared with what the figures say, so these come first.
    found = objections(figures) or check_package(report.parent, figures)
    for each in found:
        print(f"check_figures: {each}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("check_figures: plausible")


if __name__ == "__main__":
    main()
