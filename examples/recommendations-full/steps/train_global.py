"""trainGlobal: MLlib's alternating least squares on what the biases leave of the ratings, for all the cohort. A model of
all training data, and one of each of two random halves of it: what one half teaches should be about what the other does."""

import argparse

import meson_sdk as meson
import places
from pyspark.ml.recommendation import ALS
from pyspark.sql import SparkSession
from pyspark.sql.functions import col

SEED = 11
BLOCKS = 2
# Iterations between two writes of what is computed to the run's storage. Each task carries all that it was made of since
# then: too much of it overflows the stack of the thread that unpacks it.
CHECKPOINT_EVERY = 4


def parts(train):
    """The ratings to train each model on, by the model's name."""
    columns = col("user"), col("movie")
    yield places.PARTS[0], train.select(*columns, col("rest"))
    for number, part in enumerate(places.PARTS[1:], start=1):
        yield part, train.where(col("half") == number).select(*columns, col("rest_half").alias("rest"))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    arguments.add_argument("--factors", type=int, required=True)
    arguments.add_argument("--iterations", type=int, required=True)
    arguments.add_argument("--regularisation", type=float, required=True)
    given = arguments.parse_args()

    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setCheckpointDir(places.uri(places.CHECKPOINTS))
    train = spark.read.csv(places.uri(places.ratings("train")), places.TRAIN, header=True).cache()
    for seed, (part, ratings) in enumerate(parts(train), start=SEED):
        meson.message(f"training {part}")
        als = ALS(rank=given.factors, maxIter=given.iterations, regParam=given.regularisation, seed=seed)
        als.setUserCol("user").setItemCol("movie").setRatingCol("rest").setNumBlocks(BLOCKS)
        als.setCheckpointInterval(CHECKPOINT_EVERY)
        model = als.fit(ratings)
        model.write().overwrite().save(places.uri(places.model(given.number, part)))
    meson.output(ratings=train.count())
    spark.stop()


if __name__ == "__main__":
    main()
