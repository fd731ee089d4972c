"""What users and movies get or give beyond the mean, each on its own: the baseline that a model of factors has to beat,
and what is taken off the ratings before it is trained."""

import numpy as np

LOWEST, HIGHEST = 0.5, 5.0
# Ratings of no effect that each movie and user is thought to have as well: those rated little stay near the mean.
MOVIE_DAMPING, USER_DAMPING = 5.0, 10.0
ROUNDS = 8


class Biases:
    """The mean, and the biases of users and movies numbered from 0."""

    def __init__(self, user, movie, rating, users, movies):
        self.mean = rating.mean()
        self.user, self.movie = np.zeros(users), np.zeros(movies)
        seen_user = np.bincount(user, minlength=users) + USER_DAMPING
        seen_movie = np.bincount(movie, minlength=movies) + MOVIE_DAMPING
        for _ in range(ROUNDS):
            rest = rating - self.mean - self.user[user]
            self.movie = np.bincount(movie, rest, movies) / seen_movie
            rest = rating - self.mean - self.movie[movie]
            self.user = np.bincount(user, rest, users) / seen_user

    def score(self, user, movie):
        """What they predict, which may leave the scale."""
        return self.mean + self.user[user] + self.movie[movie]
