"""validateGlobal and validateReg: the error on ratings the model has not seen, what biases alone would reach, and how far
the models of the two halves disagree, as the root mean square of the difference of their predictions."""

import argparse

import meson_task
from factorise import Ratings, baseline_rmse, load, predict, rms
from train_names import halves


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--region", default="")
    arguments.add_argument("--regions", type=lambda text: text.split(","), default=[])
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    given = arguments.parse_args()

    folder = meson_task.workspace()
    suffix = f"-{given.region}" if given.region else ""
    full, first, second = (load(path) for path in halves(folder, given.number, given.region))
    valid = Ratings.load(folder / f"valid{suffix}.npz")
    rmse = rms(predict(full, valid) - valid.rating)
    baseline = baseline_rmse(Ratings.load(folder / f"train{suffix}.npz"), valid)
    disagreement = rms(predict(first, valid) - predict(second, valid))
    by_region = {}
    for region in given.regions:
        part = Ratings.load(folder / f"valid-{region}.npz")
        by_region[region] = rms(predict(full, part) - part.rating)
    print(f"rmse {rmse:.4f} (biases alone {baseline:.4f}), the halves disagree by {disagreement:.4f}")
    meson_task.output(rmse=rmse, baseline=baseline, disagreement=disagreement, by_region=by_region)


main()
