"""Loads the ratings and runs the SQL steps in one Spark session with Hive's support, in place of a server: for
run_locally.py. Prints what is known of the cohort as JSON.

Usage: local_sql.py TABLES STEPS WORKSPACE MIN_RATINGS, where TABLES is a folder that export_tables.py has filled."""

import json
import re
import sys
from pathlib import Path

from pyspark.sql import SparkSession


def literal(value):
    """A value as SQL writes it."""
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def statements(path, **parameters):
    """The statements of a file with their parameters. Enough for these files, which have no `;` or `:` but between them."""
    text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    text = re.sub(r":(\w+)", lambda name: literal(parameters[name[1]]), text)
    return text.split(";")


def run(spark, path, **parameters):
    """Runs the statements of a file; the row that the last one gives."""
    for statement in statements(path, **parameters):
        rows = spark.sql(statement)
    (row,) = rows.collect()
    return row.asDict()


def main():
    tables, steps, workspace, min_ratings = sys.argv[1:]
    steps, storage = Path(steps), workspace if "://" in workspace else f"file://{workspace}"
    spark = SparkSession.builder.enableHiveSupport().getOrCreate()
    run(spark, steps / "create_tables.sql", ratings=f"file://{tables}/ratings", movies=f"file://{tables}/movies")
    written = {"cohort": f"{storage}/cohort", "movies": f"{storage}/movies"}
    print(json.dumps(run(spark, steps / "select_users.sql", min_ratings=min_ratings, **written)))
    spark.stop()


if __name__ == "__main__":
    main()
