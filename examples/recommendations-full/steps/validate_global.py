"""validateGlobal: the global model's error on ratings that it has not seen, what biases alone reach there, and how far the
models of the two halves are apart, as the root mean square of the difference of their predictions. For all the cohort,
and for each region."""

import argparse

import meson_sdk as meson
import places
from biases import HIGHEST, LOWEST
from figures import figures
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql
from pyspark.sql.functions import col, lit

BASES = dict(zip(places.PARTS, ("base", "base_half1", "base_half2")))


def within_scale(column):
    """Predictions as they are published."""
    return sql.greatest(lit(LOWEST), sql.least(lit(HIGHEST), column))


def predicted(valid, models):
    """The held-out ratings with a column of predictions for each model."""
    for part, model in models.items():
        valid = model.setPredictionCol("factors").transform(valid)
        # Who or what a model has not seen has no factors, and is left to its bias.
        factors = sql.when(sql.isnan(col("factors")), 0.0).otherwise(col("factors"))
        valid = valid.withColumn(part, within_scale(col(BASES[part]) + factors)).drop("factors")
    return valid


def sums(predictions):
    """Of each region the number of ratings, and the sums of squares that the figures are made of."""
    full, one, other = (col(part) for part in places.PARTS)
    rows = predictions.groupBy("region").agg(
        sql.count("*").alias("ratings"),
        sql.sum(sql.pow(full - col("rating"), 2)).alias("rmse"),
        sql.sum(sql.pow(one - other, 2)).alias("disagreement"),
        sql.sum(sql.pow(within_scale(col("base")) - col("rating"), 2)).alias("baseline"),
    )
    return {row["region"]: row.asDict() for row in rows.collect()}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    given = arguments.parse_args()

    spark = SparkSession.builder.getOrCreate()
    valid = spark.read.csv(places.uri(places.ratings("valid")), places.VALID, header=True)
    models = {part: ALSModel.load(places.uri(places.model(given.number, part))) for part in places.PARTS}
    meson.message("predicting")
    squares = sums(predicted(valid, models))
    everywhere = figures("global", squares.values())
    meson.message(
        f"global: rmse {everywhere['rmse']:.4f}, biases alone {everywhere['baseline']:.4f}, "
        f"halves {everywhere['disagreement']:.4f} apart"
    )
    by_region = {region: figures(region, [each]) for region, each in sorted(squares.items())}
    meson.output(figures=everywhere, by_region=by_region)
    spark.stop()


if __name__ == "__main__":
    main()
