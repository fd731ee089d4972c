# Tests of meson.R on real files: how R's own values become JSON, and what happens outside Meson. What each call says is
# tests/sdk/cases.json.
source(Sys.getenv("MESON_R"))
folder <- tempfile("meson-test-")
dir.create(folder)
events <- file.path(folder, "events.jsonl")
Sys.setenv(MESON_EVENTS = events)

check <- function(what, is, expected) {
  if (!identical(is, expected)) stop(what, "\n  is       ", deparse(is), "\n  expected ", deparse(expected), call. = FALSE)
}

# The value's JSON, as it lands in the file.
as_output <- function(value) {
  unlink(events)
  meson_output("x", value)
  line <- readLines(events, encoding = "UTF-8")
  sub('^\\{"output":\\{"x":(.*)\\}\\}$', "\\1", line)
}

refused <- function(what, call, with) {
  said <- tryCatch({ call; "no error" }, error = conditionMessage)
  if (!grepl(with, said, fixed = TRUE)) stop(what, ": ", said, ", expected ", with, call. = FALSE)
}

cases <- list(
  list(NULL, "null"), list(NA, "null"), list(NA_character_, "null"), list(c(1, NA), "[1,null]"),
  list(5L, "5"), list(I(5L), "[5]"), list(I("a"), '["a"]'), list(1:3, "[1,2,3]"), list(character(), "[]"),
  list(list(), "[]"), list(TRUE, "true"), list(c(FALSE, NA), "[false,null]"),
  list(c(a = 1, b = 2.5), '{"a":1,"b":2.5}'), list(list(a = "x", b = NULL), '{"a":"x","b":null}'),
  list(factor(c("lo", "hi", NA)), '["lo","hi",null]'), list(factor("lo"), '"lo"'), list(I(factor("lo")), '["lo"]'),
  list(c(a = factor("lo")), '{"a":"lo"}'),
  list(as.Date("2026-11-24"), '"2026-11-24"'),
  list(as.POSIXct("2026-11-24 09:30:00", tz = "Europe/Berlin"), '"2026-11-24T08:30:00Z"'),
  list(data.frame(r = factor(c("US", "BR")), n = c(2L, NA)), '[{"r":"US","n":2},{"r":"BR","n":null}]'),
  list(data.frame(), "[]"), list(matrix(1:4, 2), "[[1,3],[2,4]]"), list(matrix(1:2, 2), "[[1],[2]]"),
  list(1e15, "1e+15"), list(123456789L, "123456789"), list(0.1, "0.1"), list(-0.5, "-0.5"))
for (case in cases) check(deparse(case[[1]])[1], as_output(case[[1]]), case[[2]])
for (number in c(0.1 + 0.2, 1 / 3, pi * 1e-300, .Machine$double.xmax, 2^53)) {
  check("a number read back", as.numeric(as_output(number)), number)
}

unlink(events)
refused("NaN", meson_output("x", c(1, NaN)), "output$x is not finite")
refused("Inf", meson_output("x", list(a = Inf)), "output$x$a is not finite")
refused("a function", meson_output("x", sum), "not JSON")
refused("a model", meson_output("x", structure(list(), class = "lm")), "class lm")
refused("complex", meson_output("x", 1i), "type complex")
refused("half named", meson_output("x", list(a = 1, 2)), "without a name")
refused("twice named", meson_output("x", list(a = 1, a = 2)), "two members named a")
refused("no name", meson_output(1), "without a name")
refused("nothing", meson_output(), "a name and a value")
refused("a text", meson_progress("5"), "not a number")
refused("NA", meson_progress(NA_real_), "not a number")
refused("NaN percent", meson_progress(NaN), "not a number")
refused("two artifacts", meson_artifact(c("a", "b"), "s3://x"), "not one text")
check("what was refused was not written", file.exists(events), FALSE)

.meson$output_bytes <- numeric()
meson_output("a", strrep("y", .meson$output_bytes_max - 8))
refused("a byte more", meson_output("a", strrep("y", .meson$output_bytes_max - 7)), "65537 bytes")

# Lines longer than a buffer, from processes at once.
unlink(events)
writers <- lapply(1:4, function(who) parallel::mcparallel(
  for (number in 1:40) meson_data(who = who, number = number, padding = strrep(who, number * 379))))
done <- parallel::mccollect(writers)
check("no writer failed", any(vapply(done, inherits, NA, "try-error")), FALSE)
said <- lapply(readLines(events), function(line) jsonlite::fromJSON(line)$data)
check("lines of all writers", length(said), 160L)
for (data in said) check("a line of one writer", data$padding, strrep(data$who, data$number * 379))

params <- file.path(folder, "params.json")
writeLines('{"v": ["a", null], "n": [1, 2.5], "m": [1, "a"], "l": [[1], [2]], "o": {"k": []}, "z": null}', params)
Sys.setenv(MESON_PARAMS = params)
check("parameters", meson_params(), list(
  v = c("a", NA), n = c(1, 2.5), m = list(1L, "a"), l = list(1L, 2L), o = list(k = list()), z = NULL))
unlink(params)
check("parameters are read once", meson_params()$n, c(1, 2.5))

space <- file.path(folder, "w")
Sys.setenv(MESON_WORKSPACE = space)
dir.create(file.path(folder, "all", "sub"), recursive = TRUE)
writeLines("one", file.path(folder, "all", "sub", "x y"))
meson_upload(file.path(folder, "all"), "deep/it's %2e%2e")
meson_download("deep/it's %2e%2e/sub/x y", file.path(folder, "back"))
check("there and back", readLines(file.path(folder, "back")), "one")
meson_upload(file.path(folder, "back"), paste0("file://", folder, "/w/other"))
check("by its URI", readLines(file.path(space, "other")), "one")
refused("nothing to copy", meson_upload(file.path(folder, "missing"), "x"), "is not there")
check("nothing half", sort(list.files(space, all.files = TRUE, no.. = TRUE)), c("deep", "other"))
refused("no storage", meson_download("hdfs://nn/x", "x"), "MESON_FS is not set")
Sys.unsetenv(c("MESON_EVENTS", "MESON_PARAMS", "MESON_WORKSPACE"))
heard <- character()
withCallingHandlers(meson_progress(5, "half"), message = function(said) {
  heard <<- conditionMessage(said)
  invokeRestart("muffleMessage")
})
check("a dry run", heard, "meson (dry run): {\"percent\":5,\"message\":\"half\"}\n")
check("facts of a dry run", list(meson_params(), meson_run_id(), meson_attempt(), meson_workspace()),
      list(list(), NA_character_, NA_real_, getwd()))
unlink(folder, recursive = TRUE)
cat("meson.R: all well\n")
