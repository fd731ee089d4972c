"""trainGlobal and trainReg: two models from two random halves of the training data. What one half says should not differ
much from what the other says: `validate.py` measures that."""

import argparse

import meson_task
import numpy as np
from factorise import Ratings, fit, save

SEEDS = (11, 23)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--region", default="")
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    arguments.add_argument("--factors", type=int, required=True)
    arguments.add_argument("--epochs", type=int, required=True)
    arguments.add_argument("--regularisation", type=float, required=True)
    given = arguments.parse_args()

    suffix = f"-{given.region}" if given.region else ""
    folder = meson_task.workspace()
    train = Ratings.load(folder / f"train{suffix}.npz")
    total = given.epochs * (len(SEEDS) + 1)
    done = 0

    def on_epoch(_):
        nonlocal done
        done += 1
        meson_task.progress(100 * done / total, f"epoch {done} of {total}")

    settings = (given.factors, given.epochs, given.regularisation)
    parts = [("full", np.ones(len(train), bool), SEEDS[0])]
    for seed in SEEDS:
        parts.append((f"half{seed}", np.random.default_rng(seed).random(len(train)) < 0.5, seed))
    for name, rows, seed in parts:
        part = train.pick(rows)
        if len(part) == 0:
            raise SystemExit(f"region {given.region} has too few ratings to train on")
        model = fit(part, *settings, seed, on_epoch)
        path = folder / "models" / f"pass{given.number}{suffix or '-global'}-{name}.npz"
        meson_task.write_atomically(path, lambda partial, model=model: save(model, partial))
    print(f"trained on {len(train)} ratings: factors {given.factors}, regularisation {given.regularisation}")


main()
