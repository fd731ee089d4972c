# trainReg: the models of one region, of all its training data and of two random halves of it.

source(Sys.getenv("MESON_R"))
# Rscript writes a space in its own argument as ~+~.
here <- dirname(gsub("~+~", " ", sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)), fixed = TRUE))
source(file.path(here, "regional.R"))

ROWS_MIN <- 20
SEED <- 11

given <- arguments(c("region", "pass", "factors", "iterations", "regularisation"))
meson_download(paste0("sets/train-", given$region, ".csv"), "train.csv")
train <- read.csv("train.csv")
if (nrow(train) < ROWS_MIN) {
  stop(given$region, " has ", nrow(train), " ratings to train on; ", ROWS_MIN, " are needed", call. = FALSE)
}
rows <- list(full = seq_len(nrow(train)), half1 = which(train$half == 1), half2 = which(train$half == 2))
iterations <- as.integer(given$iterations)
done <- 0
models <- list()
for (part in names(rows)) {
  models[[part]] <- fit_model(
    train[rows[[part]], ], as.integer(given$factors), iterations, as.numeric(given$regularisation),
    SEED + length(models),
    function() {
      done <<- done + 1
      meson_progress(95 * done / (iterations * length(rows)), paste0(given$region, ", ", part))
    }
  )
}
saveRDS(models, "models.rds")
meson_upload("models.rds", paste0("pass-", given$pass, "/region-", given$region, ".rds"))
meson_output(ratings = nrow(train))
