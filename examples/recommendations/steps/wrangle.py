"""wrangleData: numbers users and movies from 0, splits ratings into training and validation, and finds the regions that
occur in the cohort."""

import sqlite3

import meson_task
import numpy as np
from factorise import Ratings

VALIDATION_SHARE = 0.2
SEED = 20160701


def main():
    folder = meson_task.workspace()
    with sqlite3.connect(folder / "cohort.sqlite") as db:
        rows = db.execute("SELECT user_id, movie_id, rating, region FROM cohort").fetchall()
    meson_task.progress(30, f"{len(rows)} ratings read")
    user_ids, user = np.unique([row[0] for row in rows], return_inverse=True)
    movie_ids, movie = np.unique([row[1] for row in rows], return_inverse=True)
    rating = np.array([row[2] for row in rows])
    region = np.array([row[3] for row in rows])
    ratings = Ratings(user, movie, rating, len(user_ids), len(movie_ids))
    is_valid = np.random.default_rng(SEED).random(len(ratings)) < VALIDATION_SHARE
    for name, rows_of in (("train", ~is_valid), ("valid", is_valid)):
        part = ratings.pick(rows_of)
        meson_task.write_atomically(folder / f"{name}.npz", part.save)
        for place in np.unique(region):
            regional = ratings.pick(rows_of & (region == place))
            meson_task.write_atomically(folder / f"{name}-{place}.npz", regional.save)
    regions = sorted({str(place) for place in region})
    meson_task.write_atomically(folder / "movies.npy", lambda path: np.save(open(path, "wb"), movie_ids))
    print(f"training {int((~is_valid).sum())}, validation {int(is_valid.sum())}, regions {', '.join(regions)}")
    meson_task.output(regions=regions, train=int((~is_valid).sum()), validation=int(is_valid.sum()))


main()
