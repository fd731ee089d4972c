"""wrangleData: splits the cohort's ratings into a training and a held-out set, for all and for each region, takes the
biases off, and says which regions there are. Spark and R read the sets from the run's workspace."""

import csv
import tempfile
from pathlib import Path

import meson_sdk as meson
import numpy as np
import places
from biases import Biases
from regions import region

VALIDATION_SHARE = 0.2
# Those of the portable example: with them both examples train on the same ratings, and hold out the same.
SPLIT_SEED, HALVES_SEED = 20160701, 11


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


def halves(count, seed):
    """1 or 2 for each of that many rows: which half it is in, at random."""
    half = np.full(count, 2)
    half[np.random.default_rng(seed).permutation(count)[: count // 2]] = 1
    return half


def read(paths):
    """Users, movies and stars of all ratings in these files of Hive's, ordered by user and movie."""
    rows = []
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            rows += [(int(user), int(movie), float(rating)) for user, movie, rating in csv.reader(file)]
    if not rows:
        raise SystemExit("the cohort is empty: lower min_ratings, or load the ratings (load.yaml)")
    # Hive gives its rows in no order, and the split depends on it.
    return tuple(np.array(column) for column in zip(*sorted(rows)))


def sets(users, movies, rating):
    """The tables that are written, by place: a head and columns. And what they hold."""
    user_ids, user = np.unique(users, return_inverse=True)
    movie_ids, movie = np.unique(movies, return_inverse=True)
    sizes = len(user_ids), len(movie_ids)
    of_user = np.array([region(int(each)) for each in user_ids])
    valid = held_out(user, VALIDATION_SHARE, SPLIT_SEED)
    train = np.flatnonzero(~valid)
    half = halves(len(train), HALVES_SEED)

    def fit(rows):
        return Biases(user[rows], movie[rows], rating[rows], *sizes)

    full, one, other = fit(train), fit(train[half == 1]), fit(train[half == 2])
    base = [each.score(user, movie) for each in (full, one, other)]
    own = np.where(half == 1, base[1][train], base[2][train])
    at = train, np.flatnonzero(valid)
    ids = [[users[rows], movies[rows], of_user[user[rows]]] for rows in at]
    tables = {
        places.ratings("train"): (
            "user,movie,region,half,rating,rest,rest_half",
            [*ids[0], half, rating[train], (rating - base[0])[train], rating[train] - own],
        ),
        places.ratings("valid"): (
            "user,movie,region,rating,base,base_half1,base_half2",
            [*ids[1], rating[valid], *(each[valid] for each in base)],
        ),
        places.biases("users"): ("user,region,bias", [user_ids, of_user, full.user]),
        places.biases("movies"): ("movie,bias", [movie_ids, full.movie]),
    }
    names = sorted(str(name) for name in np.unique(of_user))
    for name in names:
        here = [of_user[user[rows]] == name for rows in at]
        own = [ids[0][0], ids[0][1], half, rating[train]], [ids[1][0], ids[1][1], rating[valid]]
        heads = "user,movie,half,rating", "user,movie,rating"
        for kind, head, columns, rows in zip(("train", "valid"), heads, own, here):
            tables[places.ratings(kind, name)] = head, [column[rows] for column in columns]
    facts = {"regions": names, "mean": float(full.mean), "train": len(train), "validation": int(valid.sum())}
    return tables, facts | {"users": sizes[0], "movies": sizes[1], "ratings": len(rating)}


def write(path, head, columns):
    """Writes a table as CSV."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(head.split(","))
        out.writerows(zip(*(column.tolist() for column in columns)))


def main():
    with tempfile.TemporaryDirectory(dir=".") as folder:
        cohort, local = Path(folder, "cohort"), Path(folder, "table")
        meson.download(places.COHORT, cohort)
        users, movies, rating = read(places.data_files(cohort))
        meson.progress(20, f"{len(rating)} ratings read")
        tables, facts = sets(users, movies, rating)
        for place, (head, columns) in meson.track(tables.items(), span=(30, 100)):
            write(local, head, columns)
            meson.upload(local, place)
    meson.message(f"{facts['train']} ratings to train on, {facts['validation']} held out, {len(facts['regions'])} regions")
    meson.output(**facts)


if __name__ == "__main__":
    main()
