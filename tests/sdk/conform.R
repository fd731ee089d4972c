# Makes the calls of a table with meson.R. Usage: conform.R CASES; prints, per call, a line "said" or "refused: why".
source(Sys.getenv("MESON_R"))

facts <- function() {
  meson_output("facts", list(
    run_id = meson_run_id(), workflow = meson_workflow(), step = meson_step(), attempt = meson_attempt(),
    attempt_id = meson_attempt_id(), fence = meson_fence(), workspace = meson_workspace()))
}

calls <- list(
  progress = meson_progress,
  message = meson_message,
  output = meson_output,
  outputs = function(values) do.call(meson_output, values),
  artifact = meson_artifact,
  data = function(values) do.call(meson_data, values),
  download = meson_download,
  upload = meson_upload,
  params = function() meson_output("params", meson_params()),
  facts = facts)

for (case in jsonlite::fromJSON(commandArgs(trailingOnly = TRUE)[1], simplifyVector = FALSE)) {
  cat(tryCatch({
    do.call(calls[[case$call]], case$args)
    "said"
  }, error = function(error) paste("refused:", gsub("\n", " ", conditionMessage(error)))), "\n", sep = "")
}
