"""wrangleData: numbers users and movies from 0, splits the ratings into training and validation, for the cohort and for
each region in it, and says which regions those are."""

import sqlite3

import layout
import meson_task
import numpy as np
from factorise import Ratings, write_arrays

VALIDATION_SHARE = 0.2
SEED = 20160701


def held_out(user, share, seed):
    """Which ratings are for validation: that share of each user's, at random, at least one and never all but for a user
    with one alone."""
    shuffled = np.random.default_rng(seed).permutation(len(user))
    order = shuffled[np.argsort(user[shuffled], kind="stable")]
    counts = np.bincount(user)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_held_out = np.zeros(len(user), bool)
    is_held_out[order] = place < np.maximum(1, np.floor(share * counts))[user[order]]
    return is_held_out


def read(path):
    """Numbers of users and movies, the ratings in terms of their places, and the region of each rating."""
    db = sqlite3.connect(path)
    rows = db.execute("SELECT user_id, movie_id, rating, region FROM cohort ORDER BY user_id, movie_id").fetchall()
    db.close()
    users, movies, rating, region = (np.array(column) for column in zip(*rows))
    user_numbers, user = np.unique(users, return_inverse=True)
    movie_numbers, movie = np.unique(movies, return_inverse=True)
    return user_numbers, movie_numbers, Ratings(user, movie, rating, len(user_numbers), len(movie_numbers)), region


def main():
    workspace = meson_task.workspace()
    users, movies, ratings, region = read(layout.cohort(workspace))
    meson_task.write_atomically(
        layout.numbers(workspace), lambda path: write_arrays(path, {"users": users, "movies": movies})
    )
    names = sorted(str(name) for name in np.unique(region))
    meson_task.progress(40, f"{len(ratings)} ratings read, of {len(names)} regions")
    valid = held_out(ratings.user, VALIDATION_SHARE, SEED)
    for done, name in enumerate([layout.GLOBAL, *names], start=1):
        here = np.ones(len(ratings), bool) if name == layout.GLOBAL else region == name
        for kind, rows in (("train", here & ~valid), ("valid", here & valid)):
            meson_task.write_atomically(layout.ratings(workspace, kind, name), ratings.pick(rows).save)
        meson_task.progress(40 + 60 * done / (len(names) + 1), f"{name}: {int(here.sum())} ratings")
    meson_task.output(regions=names, train=int((~valid).sum()), validation=int(valid.sum()))


if __name__ == "__main__":
    main()
