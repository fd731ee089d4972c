#!/usr/bin/env python3
"""Steps of kind `example/sql`. Needs Python 3.9 or newer, and nothing else.

All statements of a step are one transaction: it is committed when the rows are safe, so a step that fails or is stopped
in the middle leaves the database as it was.
"""

import base64
import csv
import json
import os
import sqlite3
import sys

ROWS_MAX = 100
# Outputs of a step, and some room for the names around.
OUTPUT_BYTES_MAX = 60 * 1024
# How many rows there are between two messages.
TOLD_EVERY = 10_000


def line_of(**event):
    """A line of the task contract's events."""
    try:
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
    except ValueError:
        sys.exit("the result holds a number that JSON has no word for (infinite): write a `csv`")
    if len(line) > OUTPUT_BYTES_MAX:
        sys.exit(f"the result is longer than {OUTPUT_BYTES_MAX} bytes: ask for less, or write a `csv`")
    return line


def say(line):
    """Appends it to them."""
    with open(os.environ["MESON_EVENTS"], "ab", buffering=0) as events:
        events.write(line)


def plain(value):
    """A value of SQLite that JSON has no word for, as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def rows_of(cursor):
    """The rows as dictionaries, with a message now and then."""
    names = [column[0] for column in cursor.description or []]
    for number, row in enumerate(cursor, 1):
        if number % TOLD_EVERY == 0:
            say(line_of(message=f"{number} rows"))
        yield dict(zip(names, map(plain, row)))


def to_outputs(cursor, rows_max):
    rows = []
    for row in rows_of(cursor):
        if len(rows) == rows_max:
            sys.exit(f"the query gives more than {rows_max} rows: ask for fewer, raise `rows_max`, or write a `csv`")
        rows.append(row)
    return {"rows": rows, "count": len(rows)}


def to_csv(cursor, path):
    """Writes aside, and gives the file its name when it is whole. `clean-up` removes what is left aside."""
    aside = f"{path}.part-{os.environ['MESON_ATTEMPT_ID']}"
    count = 0
    with open(aside, "w", newline="", encoding="utf-8") as file:
        names = [column[0] for column in cursor.description or []]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows_of(cursor):
            writer.writerow(row)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    return {"count": count}


def main():
    with open(os.environ["MESON_CONFIG"], encoding="utf-8") as file:
        config = json.load(file)
    workspace = os.environ["MESON_WORKSPACE"]
    params = config.get("params", {})
    database = sqlite3.connect(os.path.join(workspace, config["database"]), isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        for statement in config.get("before", []):
            database.execute(statement, params)
        cursor = database.execute(config["query"], params)
        if "csv" in config:
            path = os.path.join(workspace, config["csv"])
            output = to_csv(cursor, path)
        else:
            output = to_outputs(cursor, config.get("rows_max", ROWS_MAX))
        # Whatever may still go wrong goes wrong before.
        said = line_of(output=output, percent=100)
        database.execute("COMMIT")
    except sqlite3.Error as error:
        sys.exit(f"SQLite: {error}")
    finally:
        # What is not committed is rolled back.
        database.close()
    if "csv" in config:
        say(line_of(artifact={"name": "rows", "uri": f"file://{path}"}))
    say(said)


if __name__ == "__main__":
    main()
