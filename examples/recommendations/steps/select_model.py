"""selectModel: for each region the regional model or the global one, whichever errs less on ratings it has not seen;
and what that choice comes to for all users together."""

import argparse
import json
from math import sqrt

import layout
import meson_task


def choose(everywhere, regional):
    """Figures of the better model for each region; the global one where there is no other, and where they are equal."""
    chosen = {}
    for region, general in everywhere.items():
        own = regional.get(region)
        wins = own is not None and own["rmse"] < general["rmse"]
        best = own if wins else general
        chosen[region] = {
            "model": region if wins else layout.GLOBAL,
            "rmse": best["rmse"],
            "disagreement": best["disagreement"],
            "ratings": general["ratings"],
            "rmse_global": general["rmse"],
            "rmse_regional": own and own["rmse"],
        }
    return chosen


def together(chosen, figure):
    """A root mean square of all regions from those of each."""
    total = sum(each["ratings"] for each in chosen.values())
    return sqrt(sum(each[figure] ** 2 * each["ratings"] for each in chosen.values()) / total)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--everywhere", type=json.loads, required=True, help="figures of the global model by region")
    arguments.add_argument("--regional", type=json.loads, required=True, help="figures of the regional models")
    given = arguments.parse_args()
    chosen = choose(given.everywhere, given.regional)
    regional = sorted(region for region, each in chosen.items() if each["model"] == region)
    meson_task.progress(100, f"regional models win in {', '.join(regional) or 'no region'}")
    meson_task.output(chosen=chosen, rmse=together(chosen, "rmse"), disagreement=together(chosen, "disagreement"))


if __name__ == "__main__":
    main()
