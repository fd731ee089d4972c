"""Figures of a model, from sums of squares."""

from math import sqrt


def figures(region, squares):
    """Figures of some regions together, from their sums."""
    ratings = sum(each["ratings"] for each in squares)
    roots = {name: sqrt(sum(each[name] for each in squares) / ratings) for name in ("rmse", "disagreement", "baseline")}
    return {"region": region, "ratings": ratings} | roots
