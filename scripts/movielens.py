# Turns the lazy-load database of R's package dslabs into an SQLite file with the tables ratings, movies and users.
# MovieLens has no countries, so each user is given a region here, by a hash of the user's number.
import bz2
import hashlib
import lzma
import sqlite3
import struct
import sys
import warnings
import zlib
from pathlib import Path

import rdata

ROWS = 100_004
# Shares of users, in percent. The rarest regions disappear from a cohort of few users.
REGIONS = [("US", 46), ("BR", 19), ("GB", 14), ("JP", 11), ("DE", 6), ("NZ", 3), ("IS", 1)]


def parse(raw):
    """Reads one serialised R object."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no magic number of its own, by design
        return rdata.conversion.convert(rdata.parser.parse_data(raw))


def read_object(folder, name):
    """Reads an object of a lazy-load database: the index gives its place, four bytes its size, the fifth its packing."""
    index = parse((folder / "Rdata.rdx").read_bytes())
    offset, length = (int(number) for number in index["variables"][name])
    chunk = (folder / "Rdata.rdb").read_bytes()[offset : offset + length]
    size, packing = struct.unpack(">I", chunk[:4])[0], chunk[4:5]
    if packing == b"2":
        raw = bz2.decompress(chunk[5:])
    elif packing == b"Z":
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
        raw = lzma.decompress(chunk[5:], format=lzma.FORMAT_RAW, filters=filters)
    else:
        raw = zlib.decompress(chunk[4:])
    if len(raw) != size:
        sys.exit(f"movielens.py: {name} has {len(raw)} bytes, its index says {size}")
    return parse(raw)


def region(user):
    """The region of a user: the same on every machine."""
    number = int.from_bytes(hashlib.sha256(f"region/{user}".encode()).digest()[:8], "big") % 100
    for name, share in REGIONS:
        number -= share
        if number < 0:
            return name
    raise AssertionError("the shares add up to 100")


def main():
    package, out = Path(sys.argv[1]), sys.argv[2]
    folder = next(iter(package.glob("**/dslabs/data")), None)
    if folder is None:
        sys.exit("movielens.py: the package has no folder dslabs/data")
    table = read_object(folder, "movielens")
    if len(table) != ROWS:
        sys.exit(f"movielens.py: {len(table)} ratings, {ROWS} expected: the package has changed")
    movies = table.drop_duplicates("movieId")
    users = sorted({int(user) for user in table["userId"]})
    with sqlite3.connect(out) as db:
        db.executescript(
            "CREATE TABLE ratings (user_id INT, movie_id INT, rating REAL, rated_at INT);"
            "CREATE TABLE movies (movie_id INT PRIMARY KEY, title TEXT, genres TEXT);"
            "CREATE TABLE users (user_id INT PRIMARY KEY, region TEXT);"
        )
        columns = ("userId", "movieId", "rating", "timestamp")
        rows = zip(*(table[name].tolist() for name in columns))
        db.executemany("INSERT INTO ratings VALUES (?, ?, ?, ?)", rows)
        titles = zip(movies["movieId"].tolist(), map(str, movies["title"]), map(str, movies["genres"]))
        db.executemany("INSERT INTO movies VALUES (?, ?, ?)", titles)
        db.executemany("INSERT INTO users VALUES (?, ?)", [(user, region(user)) for user in users])
        db.execute("CREATE INDEX by_user ON ratings (user_id)")


main()
