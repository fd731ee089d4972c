"""publish: puts the chosen models and a report on them into a folder of the run's name, for others to use."""

import argparse
import json
import sqlite3
from pathlib import Path

import layout
import meson_task
import numpy as np
from factorise import HIGHEST, LOWEST, Ratings, read_arrays, write_arrays
from report import markdown

EXAMPLES_EACH = 5
# A movie rated less often is no fair example: its bias is a guess.
EXAMPLE_RATINGS_MIN = 30


def recommend(model, user, seen, popular):
    """Places of the movies that a user would like best, among the popular ones not yet seen."""
    score = model["mean"] + model["user_bias"][user] + model["movie_bias"]
    score = score + model["movie_factors"] @ model["user_factors"][user]
    score = np.where(popular & ~seen, score, -np.inf)
    return [int(movie) for movie in np.argsort(-score, kind="stable")[:EXAMPLES_EACH] if np.isfinite(score[movie])]


def examples(workspace, models, chosen):
    """For the busiest user of each region what the region's model recommends, by title."""
    numbers = read_arrays(layout.numbers(workspace))
    db = sqlite3.connect(layout.cohort(workspace))
    titles = dict(db.execute("SELECT movie_id, title FROM movies"))
    db.close()
    ratings = Ratings.load(layout.ratings(workspace, "train"))
    popular = np.bincount(ratings.movie, minlength=ratings.movies) >= EXAMPLE_RATINGS_MIN
    found = {}
    for region, choice in chosen.items():
        here = Ratings.load(layout.ratings(workspace, "train", region))
        user = int(np.bincount(here.user).argmax())
        seen = np.zeros(ratings.movies, bool)
        for kind in ("train", "valid"):
            part = Ratings.load(layout.ratings(workspace, kind, region))
            seen[part.movie[part.user == user]] = True
        movies = recommend(models[choice["model"]], user, seen, popular)
        named = [titles.get(int(numbers["movies"][movie])) or "(no title)" for movie in movies]
        found[region] = {"user": int(numbers["users"][user]), "movies": named}
    return found


def publish_models(workspace, target, number, names):
    """Writes the models with the numbers of their users and movies; the models by name."""
    numbers = read_arrays(layout.numbers(workspace))
    scale = {"lowest": np.array(LOWEST), "highest": np.array(HIGHEST)}
    models = {}
    for done, name in enumerate(names, start=1):
        models[name] = read_arrays(layout.model(workspace, number, name, "full"))
        path = target / f"model-{name}.npz"
        complete = models[name] | scale | {"user_ids": numbers["users"], "movie_ids": numbers["movies"]}
        meson_task.write_atomically(path, lambda partial: write_arrays(partial, complete))
        meson_task.artifact(f"model-{name}", path)
        meson_task.progress(90 * done / len(names), f"model {name} published")
    return models


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--to", type=Path, required=True)
    arguments.add_argument("--run", required=True)
    arguments.add_argument("--figures", type=json.loads, required=True, help="outputs of the passes")
    arguments.add_argument("--cohort", type=json.loads, required=True, help="outputs of select_users")
    given = arguments.parse_args()

    workspace, target = meson_task.workspace(), given.to / given.run
    chosen, number = given.figures["chosen"], given.figures["passes"]
    names = sorted({layout.GLOBAL} | {choice["model"] for choice in chosen.values()})
    models = publish_models(workspace, target, number, names)
    passes = [json.loads(layout.verdict(workspace, each).read_text(encoding="utf-8")) for each in range(1, number + 1)]
    figures = {"run": given.run, "cohort": given.cohort} | given.figures
    figures |= {"history": passes, "examples": examples(workspace, models, chosen)}
    for name, file, text in (
        ("report", "report.md", markdown(figures)),
        ("figures", "report.json", json.dumps(figures, indent=2) + "\n"),
    ):
        path = target / file
        meson_task.write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
        meson_task.artifact(name, path)
    meson_task.progress(100, f"published in {target}")
    meson_task.output(report=str(target / "report.md"), models=names)


if __name__ == "__main__":
    main()
