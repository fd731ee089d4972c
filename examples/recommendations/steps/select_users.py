"""getUsers: the cohort, by SQL on SQLite where the original asks Hive."""

import argparse
import sqlite3
from pathlib import Path

import layout
import meson_task
from regions import region

COHORT = Path(__file__).with_name("select_users.sql")
MOVIES = "CREATE TABLE movies AS SELECT * FROM source.movies WHERE movie_id IN (SELECT movie_id FROM cohort)"
COUNTS = "SELECT count(DISTINCT user_id), count(DISTINCT movie_id), count(*) FROM cohort"


def select(source, target, min_ratings):
    """Writes the cohort of the database `source` into the new database `target`; how many users, movies, ratings."""
    db = sqlite3.connect(f"{target.resolve().as_uri()}?mode=rwc", uri=True)
    try:
        db.create_function("region", 1, region, deterministic=True)
        db.execute("ATTACH ? AS source", (f"{source.resolve().as_uri()}?mode=ro",))
        db.execute(COHORT.read_text(encoding="utf-8"), {"min_ratings": min_ratings})
        db.execute(MOVIES)
        db.commit()
        return db.execute(COUNTS).fetchone()
    finally:
        db.close()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--min-ratings", type=int, required=True)
    given = arguments.parse_args()
    if not given.data.is_file():
        raise SystemExit(f"there is no file {given.data}: make it with scripts/fetch-movielens")

    users = movies = ratings = 0

    def write(path):
        nonlocal users, movies, ratings
        path.unlink(missing_ok=True)
        users, movies, ratings = select(given.data, path, given.min_ratings)
        if users == 0:
            raise SystemExit(f"no user has {given.min_ratings} ratings: lower min_ratings")

    meson_task.write_atomically(layout.cohort(meson_task.workspace()), write)
    meson_task.progress(100, f"{users} users gave {ratings} ratings to {movies} movies")
    meson_task.output(users=users, movies=movies, ratings=ratings)


if __name__ == "__main__":
    main()
