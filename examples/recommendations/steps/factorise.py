"""Matrix factorisation with biases, by alternating least squares: a rating is about the mean, plus the user's bias,
plus the movie's bias, plus the product of the user's and the movie's factors. After Koren, Bell and Volinsky, "Matrix
Factorization Techniques for Recommender Systems", 2009."""

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = 0.5, 5.0
# Ratings of no effect that each movie and user is thought to have as well: those rated little stay near the mean.
MOVIE_DAMPING, USER_DAMPING = 5.0, 10.0
BIAS_ROUNDS = 8
FIRST_SPREAD = 0.3


def write_arrays(path, arrays):
    """Writes arrays by name to a file; the path stays as it is, whatever it ends in."""
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path):
    """The arrays of a file, by name."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@dataclass
class Ratings:
    """Who rated what and how: arrays of users and movies, both numbered from 0, and of stars; how many of both there
    are."""

    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    users: int
    movies: int

    def __len__(self):
        return len(self.rating)

    def pick(self, rows):
        """Some of the ratings."""
        return Ratings(self.user[rows], self.movie[rows], self.rating[rows], self.users, self.movies)

    def save(self, path):
        """Writes them to a file."""
        write_arrays(path, vars(self))

    @staticmethod
    def load(path):
        """Reads them from a file."""
        arrays = read_arrays(path)
        return Ratings(**arrays | {"users": int(arrays["users"]), "movies": int(arrays["movies"])})


def fit_biases(ratings):
    """A model of the mean and the biases alone: the baseline."""
    mean = ratings.rating.mean()
    user, movie = np.zeros(ratings.users), np.zeros(ratings.movies)
    seen_user = np.bincount(ratings.user, minlength=ratings.users) + USER_DAMPING
    seen_movie = np.bincount(ratings.movie, minlength=ratings.movies) + MOVIE_DAMPING
    for _ in range(BIAS_ROUNDS):
        rest = ratings.rating - mean - user[ratings.user]
        movie = np.bincount(ratings.movie, rest, ratings.movies) / seen_movie
        rest = ratings.rating - mean - movie[ratings.movie]
        user = np.bincount(ratings.user, rest, ratings.users) / seen_user
    return {
        "mean": mean,
        "user_bias": user,
        "movie_bias": movie,
        "user_factors": np.zeros((ratings.users, 0)),
        "movie_factors": np.zeros((ratings.movies, 0)),
    }


class _Side:
    """One half of the alternation: gives factors to all users, say, while those of the movies are held."""

    def __init__(self, row, column, rest, rows):
        order = np.argsort(row, kind="stable")
        self.column, self.rest, self.rows = column[order], rest[order], rows
        self.occurring, self.starts = np.unique(row[order], return_index=True)

    def solve(self, others, regularisation):
        # One ridge regression for each row that occurs: (OᵀO + λI) f = Oᵀr, all of them at once.
        seen = others[self.column]
        squares = np.add.reduceat(seen[:, :, None] * seen[:, None, :], self.starts, axis=0)
        squares += regularisation * np.eye(others.shape[1])
        right = np.add.reduceat(seen * self.rest[:, None], self.starts, axis=0)
        factors = np.zeros((self.rows, others.shape[1]))
        factors[self.occurring] = np.linalg.solve(squares, right[:, :, None])[:, :, 0]
        return factors


def fit(ratings, factors, epochs, regularisation, seed, on_epoch=lambda: None):
    """Trains a model; calls `on_epoch` after each epoch."""
    model = fit_biases(ratings)
    rest = ratings.rating - score(model, ratings)
    users = _Side(ratings.user, ratings.movie, rest, ratings.users)
    movies = _Side(ratings.movie, ratings.user, rest, ratings.movies)
    movie = np.random.default_rng(seed).normal(0.0, FIRST_SPREAD, (ratings.movies, factors))
    for _ in range(epochs):
        user = users.solve(movie, regularisation)
        movie = movies.solve(user, regularisation)
        on_epoch()
    return model | {"user_factors": user, "movie_factors": movie}


def score(model, ratings):
    """Predictions that may leave the scale."""
    biases = model["mean"] + model["user_bias"][ratings.user] + model["movie_bias"][ratings.movie]
    return biases + (model["user_factors"][ratings.user] * model["movie_factors"][ratings.movie]).sum(axis=1)


def predict(model, ratings):
    """Predictions within the scale, for the users and movies of these ratings."""
    return np.clip(score(model, ratings), LOWEST, HIGHEST)


def rms(values):
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def rmse(model, ratings):
    """The model's error on these ratings, in stars."""
    return rms(predict(model, ratings) - ratings.rating)
