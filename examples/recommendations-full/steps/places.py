"""Where the steps of a run keep what they hand to each other, below the run's workspace: a directory, or a URI such as
hdfs://…, which Spark reads by itself and everything else by `meson.download`."""

from pathlib import Path

import meson_sdk as meson

# What Hive writes: what the users chosen rated, and what movies are called.
COHORT, MOVIES = "cohort", "movies"
# The model of all training data, and those of its two halves.
PARTS = ("full", "half1", "half2")
PACKAGE = "package.tar.gz"
# What Spark computes and may need again.
CHECKPOINTS = "checkpoints"
# The columns of the sets, for Spark.
TRAIN = "user INT, movie INT, region STRING, half INT, rating DOUBLE, rest DOUBLE, rest_half DOUBLE"
VALID = "user INT, movie INT, region STRING, rating DOUBLE, base DOUBLE, base_half1 DOUBLE, base_half2 DOUBLE"


def ratings(kind, region=None):
    """Ratings for `train` or `valid`, of all the cohort or of a region."""
    return f"sets/{kind}-{region}.csv" if region else f"sets/{kind}.csv"


def biases(of):
    """Biases of `users` or `movies`, as the training data of all the cohort gives them."""
    return f"sets/{of}.csv"


def model(number, part):
    """A global model of a pass, as MLlib saves it."""
    return f"pass-{number}/global/{part}"


def regional(number, region):
    """The models of a region, as R saves them."""
    return f"pass-{number}/region-{region}.rds"


def uri(place):
    """A place as Spark and Hive understand it."""
    workspace = meson.workspace().rstrip("/")
    return f"{workspace}/{place}" if "://" in workspace else f"file://{workspace}/{place}"


def data_files(folder):
    """The files of a folder of this machine that hold data: what begins with a dot or an underline is the writer's own."""
    return sorted(path for path in Path(folder).iterdir() if not path.name.startswith((".", "_")))
