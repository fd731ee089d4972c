"""Where the steps of a run keep what they hand to each other, below the run's workspace."""

GLOBAL = "global"
# The model of all training data, and those of its two halves.
PARTS = ("full", "half1", "half2")


def cohort(workspace):
    """The users chosen and what they rated, as SQLite."""
    return workspace / "cohort.sqlite"


def ratings(workspace, kind, name=GLOBAL):
    """Ratings for `train` or `valid`, of all the cohort or of a region."""
    return workspace / "ratings" / f"{kind}-{name}.npz"


def numbers(workspace):
    """What users and movies are called outside the matrices."""
    return workspace / "ratings" / "numbers.npz"


def model(workspace, number, name, part):
    """A model of a pass."""
    return workspace / f"pass-{number}" / f"model-{name}-{part}.npz"


def verdict(workspace, number):
    """What was found about a pass."""
    return workspace / f"pass-{number}" / "verdict.json"
