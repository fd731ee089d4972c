"""The tables of ratings and movies as text files for Hive, parted by tabs: into a folder, or to a URI such as hdfs://…, as
files of their own, which is how Hive takes a table."""

import argparse
import shutil
import sqlite3
from pathlib import Path

import meson_sdk as meson

TABLES = {
    "ratings": "SELECT user_id, movie_id, rating, rated_at FROM ratings ORDER BY user_id, movie_id",
    "movies": "SELECT movie_id, title, genres FROM movies ORDER BY movie_id",
}


def field(value):
    """A value as Hive's text format has it."""
    if value is None:
        return r"\N"
    text = str(value)
    if "\t" in text or "\n" in text:
        raise SystemExit(f"{text!r} has a tab or an end of line in it")
    return text


def export(source, folder):
    """Writes each table to a file; how many rows each has."""
    counts = {}
    db = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    for name, query in TABLES.items():
        with open(folder / f"{name}.tsv", "w", encoding="utf-8") as file:
            counts[name] = 0
            for row in db.execute(query):
                file.write("\t".join(map(field, row)) + "\n")
                counts[name] += 1
    db.close()
    return counts


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--to", required=True, help="where the tables' folders are: a path or a URI")
    given = arguments.parse_args()
    if not given.data.is_file():
        raise SystemExit(f"there is no file {given.data}: make it with scripts/fetch-movielens")
    here = Path.cwd()
    counts = export(given.data, here)
    for name in TABLES:
        target = f"{given.to.rstrip('/')}/{name}/{name}.tsv"
        if "://" in target:
            meson.upload(here / f"{name}.tsv", target)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here / f"{name}.tsv", target)
    meson.message(f"{counts['ratings']} ratings of {counts['movies']} movies")
    meson.output(**counts)


if __name__ == "__main__":
    main()
