# A region's model, in plain R: mean and biases, and of what they leave a few factors of each user and movie by alternating
# ridge regressions, regularised by the number of ratings, as MLlib does for the global model.

LOWEST <- 0.5
HIGHEST <- 5
# Ratings of no effect that each movie and user is thought to have as well: those rated little stay near the mean.
MOVIE_DAMPING <- 5
USER_DAMPING <- 10
BIAS_ROUNDS <- 8
FIRST_SPREAD <- 0.3

# Sums of values by group, for all of `groups` groups.
sums <- function(values, group, groups) {
  found <- numeric(groups)
  by_group <- rowsum(values, group)
  found[as.integer(rownames(by_group))] <- by_group[, 1]
  found
}

# The mean, and the biases of users and movies, which are numbered from 1.
fit_biases <- function(user, movie, rating, users, movies) {
  mean <- mean(rating)
  by_user <- numeric(users)
  seen_user <- tabulate(user, users) + USER_DAMPING
  seen_movie <- tabulate(movie, movies) + MOVIE_DAMPING
  for (round in seq_len(BIAS_ROUNDS)) {
    by_movie <- sums(rating - mean - by_user[user], movie, movies) / seen_movie
    by_user <- sums(rating - mean - by_movie[movie], user, users) / seen_user
  }
  list(mean = mean, user = by_user, movie = by_movie)
}

# One half of the alternation: factors of all rows, users say, while those of the columns, movies then, are held.
ridge <- function(row, column, rest, rows, others, regularisation) {
  factors <- matrix(0, rows, ncol(others))
  seen <- tabulate(row, rows)
  # Who has one rating has a solution without a matrix; most movies of a small region are so.
  once <- seen[row] == 1
  if (any(once)) {
    other <- others[column[once], , drop = FALSE]
    factors[row[once], ] <- other * (rest[once] / (regularisation + rowSums(other^2)))
  }
  penalty <- regularisation * diag(ncol(others))
  for (at in split(which(!once), row[!once])) {
    other <- others[column[at], , drop = FALSE]
    factors[row[at[1]], ] <- solve(crossprod(other) + length(at) * penalty, crossprod(other, rest[at]))
  }
  factors
}

# Trains a model on ratings, a data frame of user, movie and rating; calls `on_iteration` after each iteration.
fit_model <- function(ratings, factors, iterations, regularisation, seed, on_iteration = function() NULL) {
  users <- sort(unique(ratings$user))
  movies <- sort(unique(ratings$movie))
  user <- match(ratings$user, users)
  movie <- match(ratings$movie, movies)
  biases <- fit_biases(user, movie, ratings$rating, length(users), length(movies))
  rest <- ratings$rating - biases$mean - biases$user[user] - biases$movie[movie]
  set.seed(seed)
  by_movie <- matrix(rnorm(length(movies) * factors, 0, FIRST_SPREAD), length(movies))
  for (iteration in seq_len(iterations)) {
    by_user <- ridge(user, movie, rest, length(users), by_movie, regularisation)
    by_movie <- ridge(movie, user, rest, length(movies), by_user, regularisation)
    on_iteration()
  }
  list(users = users, movies = movies, biases = biases, user_factors = by_user, movie_factors = by_movie)
}

# What a model predicts for users and movies, by biases alone if so wanted. Strangers to it have no bias and no factors.
predict_stars <- function(model, ratings, factors = TRUE) {
  user <- match(ratings$user, model$users)
  movie <- match(ratings$movie, model$movies)
  known <- function(values) replace(values, is.na(values), 0)
  stars <- model$biases$mean + known(model$biases$user[user]) + known(model$biases$movie[movie])
  if (factors) {
    product <- model$user_factors[user, , drop = FALSE] * model$movie_factors[movie, , drop = FALSE]
    stars <- stars + known(rowSums(product))
  }
  pmin(HIGHEST, pmax(LOWEST, stars))
}

# Root of the mean square.
rms <- function(values) sqrt(mean(values^2))

# Figures of the models of all ratings and of their two halves, on ratings that they have not seen.
measure <- function(models, ratings) {
  apart <- predict_stars(models$half1, ratings) - predict_stars(models$half2, ratings)
  list(
    rmse = rms(predict_stars(models$full, ratings) - ratings$rating),
    disagreement = rms(apart),
    baseline = rms(predict_stars(models$full, ratings, factors = FALSE) - ratings$rating),
    ratings = nrow(ratings)
  )
}

# Arguments of the form --name=value, as a named list. Those that are missing are an error.
arguments <- function(wanted, given = commandArgs(trailingOnly = TRUE)) {
  matched <- regmatches(given, regexec("^--([a-z-]+)=(.*)$", given))
  found <- lapply(Filter(length, matched), `[`, 3)
  names(found) <- vapply(Filter(length, matched), `[`, "", 2)
  absent <- setdiff(wanted, names(found))
  if (length(absent)) stop("missing argument: ", paste0("--", absent, "=", collapse = " "), call. = FALSE)
  found[wanted]
}
