"""The parts of the steps that decide something."""

import json
import os
import re
import sqlite3
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import steps
import join_regions
import meson_task
import numpy as np
import publish
import regions
import report
import select_model
import select_users
import train
import validate_model
import wrangle


def figures(rmse, ratings=10, disagreement=0.2):
    return {"rmse": rmse, "ratings": ratings, "disagreement": disagreement}


class Regions(unittest.TestCase):
    def test_a_user_is_always_in_the_same_region(self):
        first = [regions.region(user) for user in range(1, 9)]
        self.assertEqual(first, [regions.region(user) for user in range(1, 9)])

    def test_shares_are_about_what_they_should_be(self):
        self.assertEqual(sum(regions.SHARES.values()), 100)
        users = [regions.region(user) for user in range(20_000)]
        for name, share in regions.SHARES.items():
            self.assertAlmostEqual(users.count(name) / 200, share, delta=1)


class SelectUsers(unittest.TestCase):
    def test_only_users_with_enough_ratings_and_only_their_movies(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "a b?.sqlite", Path(folder) / "cohort.sqlite"
            db = sqlite3.connect(source)
            db.execute("CREATE TABLE ratings (user_id INT, movie_id INT, rating REAL, rated_at INT)")
            db.execute("CREATE TABLE movies (movie_id INT PRIMARY KEY, title TEXT, genres TEXT)")
            db.executemany("INSERT INTO ratings VALUES (?, ?, 3.5, 0)", [(1, 7), (1, 8), (2, 9)])
            db.executemany("INSERT INTO movies VALUES (?, 'a title', '')", [(7,), (8,), (9,)])
            db.commit()
            db.close()
            self.assertEqual(select_users.select(source, target, 2), (1, 2, 2))
            db = sqlite3.connect(target)
            self.assertEqual(db.execute("SELECT DISTINCT region FROM cohort").fetchall(), [(regions.region(1),)])
            self.assertEqual(db.execute("SELECT movie_id FROM movies").fetchall(), [(7,), (8,)])
            db.close()


class HeldOut(unittest.TestCase):
    def test_each_user_keeps_some_and_gives_some(self):
        user = np.repeat([0, 1, 2], [2, 10, 99])[np.random.default_rng(4).permutation(111)]
        counts = np.bincount(user[wrangle.held_out(user, 0.2, 5)], minlength=3)
        self.assertEqual(counts.tolist(), [1, 2, 19])

    def test_halves_have_nothing_in_common(self):
        one, other = train.halves(11, 3)
        self.assertEqual(sorted([*one, *other]), list(range(11)))


class JoinAndSelect(unittest.TestCase):
    def test_a_region_without_figures_is_missing(self):
        us = figures(0.9) | {"region": "US"}
        self.assertEqual(join_regions.join(["BR", "US"], [None, us]), ({"US": us}, ["BR"]))

    def test_the_better_model_wins_and_the_global_one_when_equal_or_alone(self):
        everywhere = {"BR": figures(0.9), "DE": figures(0.9), "GB": figures(0.9), "US": figures(0.9)}
        chosen = select_model.choose(everywhere, {"BR": figures(0.8), "DE": figures(0.9), "GB": figures(1.0)})
        models = {region: each["model"] for region, each in chosen.items()}
        self.assertEqual(models, {"BR": "BR", "DE": "global", "GB": "global", "US": "global"})
        self.assertEqual((chosen["BR"]["rmse"], chosen["US"]["rmse_regional"]), (0.8, None))

    def test_regions_count_by_their_ratings(self):
        chosen = select_model.choose({"BR": figures(1.0, 30), "US": figures(2.0, 10)}, {})
        self.assertAlmostEqual(select_model.together(chosen, "rmse") ** 2, (30 * 1 + 10 * 4) / 40)


class Objections(unittest.TestCase):
    def test_stable_only_below_the_baseline_and_within_the_bound(self):
        for rmse, disagreement, count in [(0.8, 0.3, 0), (0.9, 0.3, 1), (0.8, 0.31, 1), (1.0, 0.5, 2)]:
            self.assertEqual(len(validate_model.objections(rmse, 0.9, disagreement, 0.3)), count, (rmse, disagreement))

    def test_what_is_no_number_is_not_stable(self):
        self.assertEqual(len(validate_model.objections(float("nan"), 0.9, float("nan"), 0.3)), 2)


class Publish(unittest.TestCase):
    def test_recommends_the_best_of_what_is_popular_and_new(self):
        model = {
            "mean": 3.0,
            "user_bias": np.zeros(1),
            "movie_bias": np.array([0.1, 0.2, 0.3, 0.4]),
            "user_factors": np.ones((1, 1)),
            "movie_factors": np.array([[1.0], [0.0], [0.0], [0.0]]),
        }
        seen, popular = np.array([False, False, True, False]), np.array([True, True, True, False])
        self.assertEqual(publish.recommend(model, 0, seen, popular), [0, 1])

    def test_the_report_has_every_pass_and_region(self):
        chosen = select_model.choose({"BR": figures(0.9), "US": figures(0.9)}, {"BR": figures(0.8)})
        history = {"number": 1, "regularisation": 4, "baseline": 1, "objections": ["too far"]} | figures(0.9)
        text = report.markdown(
            {"run": "r", "passes": 1, "regularisation": 4, "rmse": 0.87, "rmse_global": 0.9, "baseline": 1.0}
            | {"cohort": {"users": 1, "movies": 2, "ratings": 3}, "history": [history], "chosen": chosen}
            | {"examples": {"BR": {"user": 5, "movies": ["A"]}}}
        )
        self.assertIn("| 1 | 4 | 0.9000 | 1.0000 | 0.2000 | too far |", text)
        self.assertIn("| BR | BR | 0.9000 | 0.8000 | 10 |", text)
        self.assertIn("| US | global | 0.9000 | – | 10 |", text)


class TaskContract(unittest.TestCase):
    def test_each_call_is_one_line_of_json(self):
        with tempfile.TemporaryDirectory() as folder:
            events = Path(folder) / "events.jsonl"
            with mock.patch.dict(os.environ, {"MESON_EVENTS": str(events)}):
                meson_task.progress(12.34, "début")
                meson_task.message("two\nlines")
                meson_task.output(regions=["US"])
                meson_task.artifact("model", events)
            said = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(said[:2], [{"percent": 12.3, "message": "début"}, {"message": "two\nlines"}])
        self.assertEqual(said[2], {"output": {"regions": ["US"]}})
        self.assertEqual(said[3:], [{"artifact": {"name": "model", "uri": events.resolve().as_uri()}}])

    def test_what_fails_while_writing_leaves_the_old_file_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            path.write_text("old")

            def half(partial):
                partial.write_text("ne")
                raise OSError("the disk is full")

            with self.assertRaises(OSError):
                meson_task.write_atomically(path, half)
            self.assertEqual([each.read_text() for each in Path(folder).iterdir()], ["old"])


class Workflow(unittest.TestCase):
    def test_the_workflow_names_scripts_that_are_there(self):
        text = (steps.FOLDER.parent / "workflow.yaml").read_text(encoding="utf-8")
        named = set(re.findall(r"steps/(\w+\.py)", text))
        runnable = {path.name for path in steps.FOLDER.glob("*.py") if "def main()" in path.read_text(encoding="utf-8")}
        self.assertEqual(named, runnable)


if __name__ == "__main__":
    unittest.main()
