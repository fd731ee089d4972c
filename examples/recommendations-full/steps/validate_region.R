# validateReg: a regional model's error on ratings that it has not seen, what the region's biases alone reach there, and how
# far the models of the two halves are apart.

source(Sys.getenv("MESON_R"))
# Rscript writes a space in its own argument as ~+~.
here <- dirname(gsub("~+~", " ", sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)), fixed = TRUE))
source(file.path(here, "regional.R"))

given <- arguments(c("region", "pass"))
meson_download(paste0("pass-", given$pass, "/region-", given$region, ".rds"), "models.rds")
meson_download(paste0("sets/valid-", given$region, ".csv"), "valid.csv")
figures <- measure(readRDS("models.rds"), read.csv("valid.csv"))
meson_progress(100, sprintf("%s: rmse %.4f, halves %.4f apart", given$region, figures$rmse, figures$disagreement))
meson_output(figures = c(region = given$region, figures))
