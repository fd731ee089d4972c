"""trainGlobal and trainReg: a model of all training data of the cohort or of a region, and a model of each of two
random halves of it. What one half teaches should be about what the other does: validate.py measures that."""

import argparse

import layout
import meson_task
import numpy as np
from factorise import Ratings, fit, write_arrays

SEED = 11
ROWS_MIN = 20


def halves(count, seed):
    """Two random halves that have no row in common."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--region", default=layout.GLOBAL)
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    arguments.add_argument("--factors", type=int, required=True)
    arguments.add_argument("--epochs", type=int, required=True)
    arguments.add_argument("--regularisation", type=float, required=True)
    given = arguments.parse_args()

    workspace = meson_task.workspace()
    train = Ratings.load(layout.ratings(workspace, "train", given.region))
    if len(train) < ROWS_MIN:
        raise SystemExit(f"{given.region} has {len(train)} ratings to train on; {ROWS_MIN} are needed")
    total, done = given.epochs * len(layout.PARTS), 0

    def on_epoch():
        nonlocal done
        done += 1
        meson_task.progress(100 * done / total, f"{given.region}, {part}: epoch {done} of {total}")

    rows_of = zip(layout.PARTS, (slice(None), *halves(len(train), SEED)))
    for seed, (part, rows) in enumerate(rows_of, start=SEED):
        model = fit(train.pick(rows), given.factors, given.epochs, given.regularisation, seed, on_epoch)
        path = layout.model(workspace, given.number, given.region, part)
        meson_task.write_atomically(path, lambda partial: write_arrays(partial, model))
    meson_task.output(ratings=len(train))


if __name__ == "__main__":
    main()
