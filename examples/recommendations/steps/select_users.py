"""getUsers: the cohort, by SQL: all users with enough ratings, and what they rated."""

import argparse
import sqlite3

import meson_task

COHORT = """
CREATE TABLE cohort AS
    SELECT r.user_id, r.movie_id, r.rating, u.region
    FROM source.ratings r JOIN source.users u USING (user_id)
    WHERE r.user_id IN (SELECT user_id FROM source.ratings GROUP BY user_id HAVING count(*) >= :least)
    ORDER BY r.user_id, r.movie_id
"""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--min-ratings", type=int, required=True)
    given = arguments.parse_args()

    def write(path):
        db = sqlite3.connect(path)
        db.execute("ATTACH ? AS source", (f"file:{given.data}?mode=ro",))
        db.execute(COHORT, {"least": given.min_ratings})
        db.commit()
        db.close()

    sqlite3.connect(f"file:{given.data}?mode=ro", uri=True).close()
    path = meson_task.workspace() / "cohort.sqlite"
    meson_task.write_atomically(path, write)
    with sqlite3.connect(path) as db:
        users, ratings = db.execute("SELECT count(DISTINCT user_id), count(*) FROM cohort").fetchone()
    if users == 0:
        raise SystemExit(f"no user has {given.min_ratings} ratings: lower min_ratings")
    print(f"{users} users with {ratings} ratings")
    meson_task.output(users=users, ratings=ratings)


main()
