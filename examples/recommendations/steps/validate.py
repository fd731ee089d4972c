"""validateGlobal and validateReg: a model's error on ratings that it has not seen, what biases alone reach there, and
how far the models of the two halves are apart, as the root mean square of the difference of their predictions."""

import argparse
import json

import layout
import meson_task
from factorise import Ratings, fit_biases, predict, read_arrays, rms, rmse


def measure(models, ratings):
    """Figures of a model and the models of its halves."""
    full, one, other = models
    return {
        "rmse": rmse(full, ratings),
        "disagreement": rms(predict(one, ratings) - predict(other, ratings)),
        "ratings": len(ratings),
    }


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--region", default=layout.GLOBAL)
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    arguments.add_argument("--regions", type=json.loads, default=[], help="also give figures for these")
    given = arguments.parse_args()

    workspace = meson_task.workspace()
    paths = [layout.model(workspace, given.number, given.region, part) for part in layout.PARTS]
    models = [read_arrays(path) for path in paths]
    valid = Ratings.load(layout.ratings(workspace, "valid", given.region))
    figures = {"region": given.region} | measure(models, valid)
    baseline = fit_biases(Ratings.load(layout.ratings(workspace, "train", given.region)))
    figures["baseline"] = rmse(baseline, valid)
    meson_task.progress(100 / (1 + len(given.regions)))
    by_region = {}
    for done, region in enumerate(given.regions, start=2):
        by_region[region] = measure(models, Ratings.load(layout.ratings(workspace, "valid", region)))
        meson_task.progress(100 * done / (1 + len(given.regions)))
    meson_task.message(
        f"{given.region}: rmse {figures['rmse']:.4f}, biases alone {figures['baseline']:.4f}, "
        f"halves {figures['disagreement']:.4f} apart"
    )
    meson_task.output(figures=figures, by_region=by_region)


if __name__ == "__main__":
    main()
