# What a step's own code says to Meson, and what it is told. An r step loads it by
#
#     source(Sys.getenv("MESON_R"))
#
#     regions <- meson_params()$regions
#     meson_progress(40, "fold 3 of 5")
#     meson_output(rmse = 0.87, regions = regions)
#     meson_artifact("model", "file:///models/7")
#
# Outside of Meson there is nobody to listen: what would be said is printed to stderr, and the parameters are empty. In JSON a
# value of length one is that value, a longer one a list, NA is null, a named list is an object; I() keeps a list of one.
# Needs jsonlite.

MESON_OUTPUT_BYTES_MAX <- 64 * 1024

# How much is done, from 0 to 100, and perhaps what goes on.
meson_progress <- function(percent, message = NULL) {
  if (!is.numeric(percent) || length(percent) != 1 || is.na(percent) || percent < 0 || percent > 100) {
    stop("progress is one number from 0 to 100")
  }
  event <- list(percent = percent)
  if (!is.null(message)) event$message <- as.character(message)
  .meson_say(event)
}

# What goes on, for people.
meson_message <- function(text) .meson_say(list(message = as.character(text)))

# Small values for later steps, each with its name. Of a name, the last value counts.
meson_output <- function(...) {
  values <- .meson_named(list(...), "output")
  if (nchar(.meson_json(values), type = "bytes") > MESON_OUTPUT_BYTES_MAX) {
    stop("outputs are larger than ", MESON_OUTPUT_BYTES_MAX, " bytes: publish an artifact, and hand on its URI")
  }
  .meson_say(list(output = values))
}

# Something that was published: a file, a table, a model.
meson_artifact <- function(name, uri) {
  if (!nzchar(name) || !nzchar(uri)) stop("an artifact needs a name and a URI")
  .meson_say(list(artifact = list(name = name, uri = uri)))
}

# Custom data for whoever watches the run. The newest counts.
meson_data <- function(...) .meson_say(list(data = .meson_named(list(...), "data")))

# The parameters of the run.
meson_params <- function() {
  path <- Sys.getenv("MESON_PARAMS")
  if (nzchar(path)) jsonlite::fromJSON(path, simplifyDataFrame = FALSE, simplifyMatrix = FALSE) else list()
}

# The run's temporary storage, shared by its steps: a directory, or an hdfs:// URI.
meson_workspace <- function() Sys.getenv("MESON_WORKSPACE", getwd())

.meson_named <- function(values, what) {
  if (length(values) == 0 || is.null(names(values)) || any(!nzchar(names(values)))) {
    stop("each value needs a name: meson_", what, "(rmse = 0.87)")
  }
  values
}

.meson_json <- function(value) {
  infinite <- function(part) is.numeric(part) && any(is.infinite(part) | is.nan(part))
  if (any(unlist(rapply(list(value), infinite, how = "unlist")))) stop("JSON cannot hold an infinite number")
  jsonlite::toJSON(value, auto_unbox = TRUE, na = "null", null = "null", digits = NA)
}

.meson_say <- function(event) {
  line <- paste0(.meson_json(event), "\n")
  path <- Sys.getenv("MESON_EVENTS")
  if (!nzchar(path)) {
    cat("meson:", line, file = stderr())
    return(invisible())
  }
  # Raw, so that it is one write: processes that R forks may speak at once.
  file <- file(path, open = "ab", raw = TRUE)
  on.exit(close(file))
  writeBin(charToRaw(enc2utf8(line)), file)
  invisible()
}
