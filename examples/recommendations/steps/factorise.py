"""Matrix factorisation with biases by alternating least squares, after Koren, Bell and Volinsky, "Matrix Factorization
Techniques for Recommender Systems" (2009): a rating is mean + user bias + movie bias + user factors · movie factors."""

import numpy as np


class Ratings:
    """Triples of user, movie and rating, with users and movies numbered from 0."""

    def __init__(self, user, movie, rating, users, movies):
        self.user, self.movie, self.rating = user, movie, rating
        self.users, self.movies = users, movies

    @staticmethod
    def load(path):
        with np.load(path) as file:
            return Ratings(file["user"], file["movie"], file["rating"], int(file["users"]), int(file["movies"]))

    def save(self, path):
        with open(path, "wb") as file:
            np.savez(file, user=self.user, movie=self.movie, rating=self.rating, users=self.users, movies=self.movies)

    def pick(self, rows):
        return Ratings(self.user[rows], self.movie[rows], self.rating[rows], self.users, self.movies)

    def __len__(self):
        return len(self.rating)


def fit_biases(ratings, damping=(10.0, 5.0), rounds=8):
    """Mean and damped biases of users and movies."""
    mean = float(ratings.rating.mean())
    user, movie = np.zeros(ratings.users), np.zeros(ratings.movies)
    seen_user = np.bincount(ratings.user, minlength=ratings.users)
    seen_movie = np.bincount(ratings.movie, minlength=ratings.movies)
    for _ in range(rounds):
        rest = ratings.rating - mean - user[ratings.user]
        movie = np.bincount(ratings.movie, rest, ratings.movies) / (seen_movie + damping[1])
        rest = ratings.rating - mean - movie[ratings.movie]
        user = np.bincount(ratings.user, rest, ratings.users) / (seen_user + damping[0])
    return mean, user, movie


def _solve(index, others, rest, count, regularisation):
    """Ridge regression for each row: factors of `index` given the factors of the others."""
    order = np.argsort(index, kind="stable")
    index, others, rest = index[order], others[order], rest[order]
    width = others.shape[1]
    starts = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
    gram = np.add.reduceat(others[:, :, None] * others[:, None, :], starts, axis=0)
    gram += regularisation * np.eye(width)
    right = np.add.reduceat(others * rest[:, None], starts, axis=0)
    factors = np.zeros((count, width))
    factors[index[starts]] = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
    return factors


def fit(ratings, factors, epochs, regularisation, seed, on_epoch=lambda done: None):
    """Trains a model; calls `on_epoch` with the number of epochs done."""
    mean, user_bias, movie_bias = fit_biases(ratings)
    rest = ratings.rating - mean - user_bias[ratings.user] - movie_bias[ratings.movie]
    random = np.random.default_rng(seed)
    movie = random.normal(0.0, 0.3, (ratings.movies, factors))
    user = np.zeros((ratings.users, factors))
    for epoch in range(epochs):
        user = _solve(ratings.user, movie[ratings.movie], rest, ratings.users, regularisation)
        movie = _solve(ratings.movie, user[ratings.user], rest, ratings.movies, regularisation)
        on_epoch(epoch + 1)
    return {"mean": mean, "user_bias": user_bias, "movie_bias": movie_bias, "user": user, "movie": movie}


def predict(model, ratings):
    """Predicted ratings, within the scale of half a star to five."""
    score = model["mean"] + model["user_bias"][ratings.user] + model["movie_bias"][ratings.movie]
    score = score + (model["user"][ratings.user] * model["movie"][ratings.movie]).sum(axis=1)
    return np.clip(score, 0.5, 5.0)


def rms(errors):
    """Root of the mean square; not a number for none."""
    return float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else float("nan")


def baseline_rmse(train, valid):
    """What biases alone reach."""
    mean, user, movie = fit_biases(train)
    return rms(np.clip(mean + user[valid.user] + movie[valid.movie], 0.5, 5.0) - valid.rating)


def save(model, path):
    with open(path, "wb") as file:
        np.savez(file, **model)


def load(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
