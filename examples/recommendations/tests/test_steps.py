"""The parts of the steps that need no scheduler: the factorisation learns, and the verdicts are right."""

import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "steps"))

import factorise  # noqa: E402
import select_model  # noqa: E402
import validate_model  # noqa: E402


def synthetic(users=60, movies=80, seed=5):
    """Ratings that two factors explain, with a little noise; each user rated half of the movies."""
    random = np.random.default_rng(seed)
    score = 3 + random.normal(0, 0.9, (users, 2)) @ random.normal(0, 0.9, (2, movies))
    user, movie = np.nonzero(random.random((users, movies)) < 0.5)
    rating = np.clip(score[user, movie] + random.normal(0, 0.1, len(user)), 0.5, 5)
    return factorise.Ratings(user, movie, rating, users, movies)


class Factorisation(unittest.TestCase):
    def test_it_learns_what_biases_cannot(self):
        ratings = synthetic()
        is_valid = np.random.default_rng(1).random(len(ratings)) < 0.2
        train, valid = ratings.pick(~is_valid), ratings.pick(is_valid)
        model = factorise.fit(train, 2, 15, 1.0, seed=3)
        error = factorise.rms(factorise.predict(model, valid) - valid.rating)
        self.assertLess(error, 0.6 * factorise.baseline_rmse(train, valid))

    def test_every_epoch_is_told(self):
        told = []
        factorise.fit(synthetic(), 2, 4, 1.0, seed=3, on_epoch=told.append)
        self.assertEqual(told, [1, 2, 3, 4])

    def test_the_same_seed_gives_the_same_model(self):
        first, second = (factorise.fit(synthetic(), 2, 3, 1.0, seed=9) for _ in range(2))
        np.testing.assert_array_equal(first["movie"], second["movie"])

    def test_predictions_stay_on_the_scale(self):
        ratings = synthetic()
        scores = factorise.predict(factorise.fit(ratings, 2, 3, 0.1, seed=3), ratings)
        self.assertTrue(((scores >= 0.5) & (scores <= 5)).all())


class Verdicts(unittest.TestCase):
    def test_a_model_must_beat_the_biases_and_agree_with_itself(self):
        self.assertEqual(validate_model.verdict(0.86, 0.88, 0.2, 0.3), [])
        self.assertEqual(len(validate_model.verdict(0.93, 0.88, 0.5, 0.3)), 2)
        self.assertEqual(len(validate_model.verdict(float("nan"), 0.88, 0.1, 0.3)), 1)

    def test_the_better_model_is_chosen_for_each_region(self):
        chosen = select_model.choose(["BR", "US"], [0.9, 0.8], {"BR": 0.85, "US": 0.82})
        self.assertEqual(chosen["BR"]["model"], "global")
        self.assertEqual(chosen["US"], {"model": "US", "rmse": 0.8})


if __name__ == "__main__":
    unittest.main()
