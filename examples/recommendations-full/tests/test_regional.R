# The regional model learns what is there to learn, and nothing else. Run by test_technologies.py.

# Rscript writes a space in its own argument as ~+~.
here <- dirname(gsub("~+~", " ", sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)), fixed = TRUE))
source(file.path(here, "..", "steps", "regional.R"))

# Ratings of a made-up world: biases, one hidden factor and a little noise; most of them are there.
set.seed(1)
users <- 60
movies <- 50
all <- expand.grid(user = seq_len(users) * 3, movie = seq_len(movies) * 7)
taste <- rnorm(users, 0, 0.8)
kind <- rnorm(movies, 0, 0.8)
stars <- 3 + rnorm(users, 0, 0.3)[all$user / 3] + rnorm(movies, 0, 0.3)[all$movie / 7]
stars <- stars + taste[all$user / 3] * kind[all$movie / 7] + rnorm(nrow(all), 0, 0.1)
all$rating <- pmin(HIGHEST, pmax(LOWEST, stars))
all <- all[runif(nrow(all)) < 0.8, ]
held <- runif(nrow(all)) < 0.2
train <- all[!held, ]
valid <- all[held, ]
error <- function(model, factors = TRUE) rms(predict_stars(model, valid, factors) - valid$rating)

model <- fit_model(train, 2, 10, 0.02, 3)
stopifnot("factors beat biases where there is a factor" = error(model) < 0.5 * error(model, FALSE))

endless <- fit_model(train, 2, 3, 1e12, 3)
stopifnot("endless regularisation leaves the biases" = abs(error(endless) - error(endless, FALSE)) < 1e-6)

again <- fit_model(train, 2, 10, 0.02, 3)
stopifnot("the same seed gives the same model" = identical(model, again))

reported <- 0
invisible(fit_model(train, 2, 7, 0.1, 3, function() reported <<- reported + 1))
stopifnot("every iteration is reported" = reported == 7)

stranger <- data.frame(user = -1, movie = -1)
stopifnot("who was never seen gets the mean" = abs(predict_stars(model, stranger) - mean(train$rating)) < 1e-12)

predicted <- predict_stars(fit_model(train, 8, 5, 1e-6, 3), valid)
stopifnot("predictions stay on the scale" = all(predicted >= LOWEST & predicted <= HIGHEST))

# Those with one rating have a way of their own, which must lead to the same place.
row <- c(1, 2, 2, 3)
column <- c(1, 1, 2, 2)
rest <- c(0.5, -0.25, 1, -1)
others <- matrix(c(0.3, -0.2, 0.1, 0.7), 2)
found <- ridge(row, column, rest, 4, others, 0.1)
for (each in 1:3) {
  other <- others[column[row == each], , drop = FALSE]
  system <- crossprod(other) + sum(row == each) * 0.1 * diag(2)
  stopifnot("the ridge is solved" = all.equal(found[each, ], c(solve(system, crossprod(other, rest[row == each])))))
}
stopifnot("who rated nothing has no factors" = all(found[4, ] == 0))

models <- list(full = model, half1 = model, half2 = endless)
figures <- measure(models, valid)
stopifnot(
  "figures" = all.equal(figures$rmse, error(model)) && figures$ratings == nrow(valid),
  "apart" = all.equal(figures$disagreement, rms(predict_stars(model, valid) - predict_stars(endless, valid)))
)

stopifnot("arguments" = identical(arguments(c("b", "a-c"), c("--a-c=1", "--b=x=y", "z")), list(b = "x=y", `a-c` = "1")))
refusal <- tryCatch(arguments("pass", character()), error = conditionMessage)
stopifnot("a missing argument is named" = refusal == "missing argument: --pass=")
