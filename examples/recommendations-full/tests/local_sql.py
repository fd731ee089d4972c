"""Loads the ratings and runs the SQL steps in one Spark session with Hive's support, in place of a server: for
run_locally.py. Prints the row of the last statement as JSON.

Usage: local_sql.py TABLES STEPS WORKSPACE MIN_RATINGS, where TABLES is a folder that export_tables.py has filled."""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession


def literal(value):
    """A value as SQL writes it."""
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def bound(path, **parameters):
    """The statement of a file with its parameters."""
    text = path.read_text(encoding="utf-8")
    for name, value in parameters.items():
        text = text.replace(f":{name}", literal(value))
    return text


def main():
    tables, steps, workspace, min_ratings = sys.argv[1:]
    steps = Path(steps)
    spark = SparkSession.builder.enableHiveSupport().getOrCreate()
    for name in ("ratings", "movies"):
        spark.sql(bound(steps / f"create_{name}.sql", location=f"file://{tables}/{name}"))
    spark.sql(bound(steps / "select_users.sql", min_ratings=min_ratings, cohort=f"file://{workspace}/cohort"))
    spark.sql(bound(steps / "select_movies.sql", movies=f"file://{workspace}/movies"))
    (row,) = spark.sql(bound(steps / "describe_cohort.sql", min_ratings=min_ratings)).collect()
    print(json.dumps(row.asDict()))
    spark.stop()


if __name__ == "__main__":
    main()
