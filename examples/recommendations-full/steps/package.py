"""Packs what is to be published: the global model as tables that anybody can read, the models of the regions that won, a
report, and checksums. The container that publishes it needs nothing but this one file."""

import argparse
import json
from pathlib import Path

import meson_sdk as meson
import places
from biases import HIGHEST, LOWEST
from packing import Side, checked, recommend, write_package
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import SparkSession
from pyspark.sql.functions import col
from report import markdown

# A movie rated less often is no fair example: its bias is a guess.
EXAMPLE_RATINGS_MIN = 30


def read_side(spark, of, factors, rank):
    """A side of the model from the tables of the workspace."""
    name = of[:-1]
    biases = spark.read.csv(places.uri(places.biases(of)), header=True, inferSchema=True)
    by_id = {row[name]: row["bias"] for row in biases.collect()}
    return Side(by_id, {row["id"]: row["features"] for row in factors.collect()}, rank)


def examples(spark, users, movies):
    """For the busiest user of each region what the global model recommends, by title."""
    train = spark.read.csv(places.uri(places.ratings("train")), places.TRAIN, header=True).cache()
    valid = spark.read.csv(places.uri(places.ratings("valid")), places.VALID, header=True)
    titles = spark.read.csv(places.uri(places.MOVIES), "movie INT, title STRING", sep="\t", quote="")
    names = {row["movie"]: row["title"] for row in titles.collect()}
    counts = train.groupBy("movie").count().where(col("count") >= EXAMPLE_RATINGS_MIN)
    popular = {row["movie"] for row in counts.collect()}
    busiest = {}
    for row in train.groupBy("region", "user").count().orderBy("count", "user").collect():
        busiest[row["region"]] = row["user"]
    wanted = list(busiest.values())
    seen = train.select("user", "movie").union(valid.select("user", "movie")).where(col("user").isin(wanted)).collect()
    found = {}
    for region, user in sorted(busiest.items()):
        of_user = {row["movie"] for row in seen if row["user"] == user}
        best = recommend(users, movies, user, of_user, popular)
        found[region] = {"user": user, "movies": [names.get(movie, "(no title)") for movie in best]}
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--run", required=True)
    arguments.add_argument("--figures", type=json.loads, required=True, help="outputs of the passes")
    arguments.add_argument("--cohort", type=json.loads, required=True, help="the row that select_users gives")
    arguments.add_argument("--wrangled", type=json.loads, required=True, help="outputs of wrangle")
    given = arguments.parse_args()

    cohort = checked(given.cohort, given.wrangled)
    chosen, number = given.figures["chosen"], given.figures["passes"]
    folder = Path("package")
    folder.mkdir()
    spark = SparkSession.builder.getOrCreate()
    model = ALSModel.load(places.uri(places.model(number, places.PARTS[0])))
    users = read_side(spark, "users", model.userFactors, model.rank)
    movies = read_side(spark, "movies", model.itemFactors, model.rank)
    users.write(folder / "global-users.csv", "user")
    movies.write(folder / "global-movies.csv", "movie")
    scale = {"mean": given.wrangled["mean"], "lowest": LOWEST, "highest": HIGHEST}
    (folder / "global.json").write_text(json.dumps(scale) + "\n", encoding="utf-8")
    regional = sorted(region for region, choice in chosen.items() if choice["model"] == region)
    for region in regional:
        meson.download(places.regional(number, region), folder / f"region-{region}.rds")
    figures = {"run": given.run, "cohort": cohort} | given.figures | {"examples": examples(spark, users, movies)}
    (folder / "report.md").write_text(markdown(figures), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    write_package(folder, places.PACKAGE)
    meson.upload(places.PACKAGE, places.PACKAGE)
    meson.message(f"packed the global model and {len(regional)} regional ones")
    meson.output(uri=places.uri(places.PACKAGE), models=["global", *regional])
    spark.stop()


if __name__ == "__main__":
    main()
