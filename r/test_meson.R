# The helper against real files, as the executor reads them. Run as `Rscript r/test_meson.R` from the project's folder.

source("r/meson.R")
events <- tempfile()
params <- tempfile()
writeLines('{"regions": ["US", "BR"], "rank": 3}', params)
Sys.setenv(MESON_EVENTS = events, MESON_PARAMS = params)

meson_progress(40, "fold 3 of 5")
meson_message("line\nbreak \u00e9")
meson_output(a = 1L, b = c(2, 3), c = I("x"), d = NA, e = list(f = 0.1 + 0.2))
meson_artifact("model", "s3://m")
meson_data(loss = 0.5)
stopifnot(identical(readLines(events, encoding = "UTF-8"), c(
  '{"percent":40,"message":"fold 3 of 5"}',
  '{"message":"line\\nbreak \u00e9"}',
  '{"output":{"a":1,"b":[2,3],"c":["x"],"d":null,"e":{"f":0.3}}}',
  '{"artifact":{"name":"model","uri":"s3://m"}}',
  '{"data":{"loss":0.5}}'
)))
stopifnot(identical(meson_params(), list(regions = c("US", "BR"), rank = 3L)))

refused <- function(call) inherits(try(call, silent = TRUE), "try-error")
stopifnot(
  refused(meson_progress(101)), refused(meson_progress("x")), refused(meson_output(1)),
  refused(meson_output(a = Inf)), refused(meson_output(a = strrep("x", MESON_OUTPUT_BYTES_MAX))),
  refused(meson_artifact("", "x"))
)
stopifnot(length(readLines(events, encoding = "UTF-8")) == 5)

parallel::mclapply(1:4, function(number) for (i in 1:100) meson_message(strrep(number, 500)), mc.cores = 4)
lines <- readLines(events, encoding = "UTF-8")
stopifnot(length(lines) == 405, all(vapply(lines, jsonlite::validate, TRUE)))
cat("all well\n")
