"""The matrix factorisation learns what is there to learn, and nothing else."""

import unittest

import steps  # noqa: F401
import numpy as np
from factorise import Ratings, fit, fit_biases, predict, rmse


def made_up(users=60, movies=50, seed=1):
    """Ratings of a made-up world: biases, one hidden factor and a little noise; most of them are there."""
    random = np.random.default_rng(seed)
    taste, kind = random.normal(0, 0.8, users), random.normal(0, 0.8, movies)
    stars = 3 + random.normal(0, 0.3, users)[:, None] + random.normal(0, 0.3, movies) + np.outer(taste, kind)
    stars = np.clip(stars + random.normal(0, 0.1, stars.shape), 0.5, 5)
    user, movie = np.nonzero(random.random(stars.shape) < 0.8)
    return Ratings(user, movie, stars[user, movie], users, movies)


class Fit(unittest.TestCase):
    def setUp(self):
        ratings = made_up()
        valid = np.random.default_rng(2).random(len(ratings)) < 0.2
        self.train, self.valid = ratings.pick(~valid), ratings.pick(valid)

    def test_factors_beat_biases_where_there_is_a_factor(self):
        model = fit(self.train, factors=2, epochs=10, regularisation=0.5, seed=3)
        self.assertLess(rmse(model, self.valid), 0.5 * rmse(fit_biases(self.train), self.valid))

    def test_endless_regularisation_leaves_the_biases(self):
        model = fit(self.train, factors=2, epochs=3, regularisation=1e12, seed=3)
        self.assertAlmostEqual(rmse(model, self.valid), rmse(fit_biases(self.train), self.valid), places=6)

    def test_the_same_seed_gives_the_same_model(self):
        one, same, other = (fit(self.train, 2, 2, 1.0, seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one["user_factors"], same["user_factors"])
        self.assertFalse(np.array_equal(one["user_factors"], other["user_factors"]))

    def test_every_epoch_is_reported(self):
        reported = []
        fit(self.train, 2, 7, 1.0, 3, lambda: reported.append(None))
        self.assertEqual(len(reported), 7)

    def test_who_was_never_seen_gets_the_mean(self):
        stranger = Ratings(np.array([0]), np.array([0]), np.array([4.0]), 60, 50)
        few = self.train.pick((self.train.user != 0) & (self.train.movie != 0))
        model = fit(few, 2, 2, 1.0, 3)
        np.testing.assert_allclose(predict(model, stranger), few.rating.mean())

    def test_predictions_stay_on_the_scale(self):
        model = fit(self.train, 8, 5, 1e-3, 3)
        stars = predict(model, self.valid)
        self.assertTrue(((stars >= 0.5) & (stars <= 5.0)).all())


if __name__ == "__main__":
    unittest.main()
