# What a step's own R code says to Meson, and what Meson tells it. Needs R 3.5 or newer and the package jsonlite.
#
#   source(Sys.getenv("MESON_R"))
#   regions <- meson_params()$regions
#   meson_progress(50, "half way")
#   meson_output("trained", length(regions))
#   meson_artifact("model", "s3://models/model.rds")
#
# A call appends one line of JSON to the file $MESON_EVENTS. Where that variable is not set, the code does not run under
# Meson: the line is then printed on standard error, and nothing else changes.
#
# How R's values become JSON:
#   NULL, NA                     null
#   NaN, Inf                     an error: JSON cannot say them
#   a vector of length 1         a scalar; I(x) is an array of one
#   any other vector, list()     an array
#   a named vector or list       an object; all of its members need a name
#   a factor                     its labels
#   a Date, a POSIXct            text: "2026-11-24", "2026-11-24T08:30:00Z"
#   a data frame                 an array of one object a row
#   a matrix                     an array of rows
#   anything else                an error
# How JSON becomes R's values: an array of texts, of numbers or of booleans is a vector (null among them is NA), any other
# array a list, an object a named list.

# Percent complete, 0 to 100, and what is being done.
meson_progress <- function(percent, message = NULL) {
  if (!is.numeric(percent) || length(percent) != 1 || is.na(percent)) stop("percent is not a number")
  if (percent < 0 || percent > 100) stop("percent is ", percent, ", not between 0 and 100")
  said <- c(percent = .meson$json(as.vector(percent), "percent"))
  if (!is.null(message)) said["message"] <- .meson$text(.meson$bounded(message))
  .meson$say(.meson$object(said))
}

# What is being done. Longer texts than 16 KiB are cut.
meson_message <- function(text) .meson$say(.meson$object(c(message = .meson$text(.meson$bounded(text)))))

# Small values for later steps: meson_output("a", 1), meson_output(a = 1, b = 2). At most 64 KiB of JSON an attempt; the
# last value of a name counts.
meson_output <- function(...) {
  values <- list(...)
  if (length(values) == 2 && is.null(names(values))) {
    values <- stats::setNames(values[2], .meson$named(values[[1]], "an output"))
  }
  if (length(values) == 0) stop("an output has a name and a value")
  said <- .meson$members(values, "output")
  sizes <- .meson$output_bytes
  sizes[names(said)] <- nchar(.meson$object_members(said), type = "bytes") + 1
  total <- sum(sizes) + 1
  if (total > .meson$output_bytes_max) {
    stop("outputs would be ", total, " bytes, more than ", .meson$output_bytes_max,
         " in all; publish large values as an artifact and hand on its URI")
  }
  .meson$output_bytes <- sizes
  .meson$say(.meson$object(c(output = .meson$object(said))))
}

# Something that this step made and others may fetch. The URI is taken as it is.
meson_artifact <- function(name, uri) {
  .meson$named(name, "an artifact")
  .meson$named(uri, "an artifact's URI", "")
  artifacts <- union(.meson$artifacts, name)
  if (length(artifacts) > .meson$artifacts_max) {
    stop("more than ", .meson$artifacts_max, " artifacts; publish a directory as one")
  }
  .meson$artifacts <- artifacts
  .meson$say(.meson$object(c(artifact = .meson$object(c(name = .meson$text(name), uri = .meson$text(uri))))))
}

# Custom data for those who listen to the run: at most 16 KiB of JSON. Each call replaces what was said before.
meson_data <- function(...) {
  said <- .meson$object(.meson$members(list(...), "data"))
  bytes <- nchar(said, type = "bytes")
  if (bytes > .meson$soft_bytes_max) stop("data is ", bytes, " bytes, more than ", .meson$soft_bytes_max)
  .meson$say(.meson$object(c(data = said)))
}

# The step's parameters, a named list, read once. Outside Meson there are none, unless $MESON_PARAMS names a JSON file.
meson_params <- function() {
  path <- Sys.getenv("MESON_PARAMS")
  if (path == "") return(list())
  if (is.null(.meson$params[[path]])) {
    .meson$params[[path]] <- .meson$simple(jsonlite::fromJSON(path, simplifyVector = FALSE))
  }
  .meson$params[[path]]
}

# The run's temporary storage: a directory or an hdfs:// URI. Outside Meson, the working directory.
meson_workspace <- function() {
  path <- Sys.getenv("MESON_WORKSPACE")
  if (path == "") getwd() else path
}

# Copies a file or directory from a file://, hdfs:// or s3:// URI, or a path within the workspace, to this machine.
meson_download <- function(uri, path) {
  place <- .meson$place(uri)
  if (is.na(place)) .meson$fs("get", uri, path) else .meson$copy(place, path)
}

# Copies a file or directory of this machine to a file://, hdfs:// or s3:// URI, or a path within the workspace.
meson_upload <- function(path, uri) {
  place <- .meson$place(uri)
  if (is.na(place)) .meson$fs("put", path, uri) else .meson$copy(path, place)
}

# Who this is; NA outside Meson. The fence only grows from attempt to attempt of a step.
meson_run_id <- function() Sys.getenv("MESON_RUN_ID", NA)
meson_workflow <- function() Sys.getenv("MESON_WORKFLOW", NA)
meson_step <- function() Sys.getenv("MESON_STEP", NA)
meson_attempt <- function() as.numeric(Sys.getenv("MESON_ATTEMPT", NA))
meson_attempt_id <- function() Sys.getenv("MESON_ATTEMPT_ID", NA)
meson_fence <- function() as.numeric(Sys.getenv("MESON_FENCE", NA))

# Everything else, out of the way of the step's own names.
.meson <- new.env()
local(envir = .meson, {
  # The executor's own limits (executor/src/events.rs). It counts what all processes of the attempt say, and so has the
  # last word; here each process counts what it said itself.
  output_bytes_max <- 64 * 1024
  soft_bytes_max <- 16 * 1024
  artifacts_max <- 1000
  depth_max <- 100
  # A file's buffer: what is longer would be written in pieces.
  write_bytes_max <- 4000

  output_bytes <- numeric()
  artifacts <- character()
  params <- list()

  json <- function(value, where, depth = 0) {
    if (depth > depth_max) stop(where, " is nested deeper than ", depth_max, " levels")
    if (is.null(value)) return("null")
    if (is.data.frame(value)) {
      rows <- lapply(seq_len(nrow(value)), function(row) lapply(value, function(column) column[[row]]))
      return(array(vapply(rows, json, "", where, depth + 1)))
    }
    if (is.factor(value)) value <- kept(as.character(value), value)
    if (inherits(value, "Date")) value <- kept(format(value, "%Y-%m-%d"), value)
    if (inherits(value, "POSIXct")) value <- kept(format(value, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC"), value)
    if (is.object(value) && !inherits(value, "AsIs")) stop(where, " is of class ", class(value)[1], ", which is not JSON")
    if (!is.list(value) && !is.atomic(value)) stop(where, " is a ", typeof(value), ", which is not JSON")
    if (is.matrix(value)) {
      return(array(vapply(seq_len(nrow(value)), function(row) json(I(unname(value[row, ])), where, depth + 1), "")))
    }
    if (!is.null(names(value))) return(object(members(value, where, depth)))
    if (is.list(value)) return(array(vapply(value, json, "", where, depth + 1)))
    said <- scalars(value, where)
    if (length(said) == 1 && !inherits(value, "AsIs")) said else array(said)
  }

  # Names and I() outlive the change of type.
  kept <- function(text, of) {
    names(text) <- names(of)
    if (inherits(of, "AsIs")) I(text) else text
  }

  members <- function(values, where, depth = 0) {
    if (length(values) == 0) return(character())
    keys <- names(values)
    if (is.null(keys) || anyNA(keys) || any(keys == "")) stop(where, " has members without a name")
    if (anyDuplicated(keys)) stop(where, " has two members named ", keys[anyDuplicated(keys)])
    said <- vapply(seq_along(keys), function(at) json(values[[at]], paste0(where, "$", keys[at]), depth + 1), "")
    stats::setNames(said, keys)
  }

  scalars <- function(value, where) {
    said <- switch(typeof(value),
      logical = ifelse(value, "true", "false"),
      integer = format(value, scientific = FALSE, trim = TRUE),
      double = numbers(value, where),
      character = vapply(value, text, "", where, USE.NAMES = FALSE),
      stop(where, " is of type ", typeof(value), ", which is not JSON"))
    said[is.na(value)] <- "null"
    as.character(said)
  }

  # As short as can be read back to the same number.
  numbers <- function(value, where) {
    if (any(is.nan(value) | is.infinite(value))) stop(where, " is not finite, which JSON cannot say; use NA")
    short <- formatC(value, digits = 15, format = "g", width = 1)
    exact <- is.na(value) | suppressWarnings(as.numeric(short)) == value
    ifelse(exact, short, formatC(value, digits = 17, format = "g", width = 1))
  }

  text <- function(value, where = "the text") {
    if (is.na(value)) return("null")
    value <- enc2utf8(as.character(value))
    if (!validUTF8(value)) stop(where, " is not valid UTF-8")
    as.character(jsonlite::toJSON(jsonlite::unbox(value)))
  }

  array <- function(said) paste0("[", paste(said, collapse = ","), "]")
  object_members <- function(said) {
    keys <- if (length(said)) vapply(names(said), text, "", "a name") else character()
    if (length(said)) paste0(keys, ":", said) else character()
  }
  object <- function(said) paste0("{", paste(object_members(said), collapse = ","), "}")

  named <- function(name, what, of = "the name of ") {
    if (!is.character(name) || length(name) != 1 || is.na(name)) stop(of, what, " is not one text")
    if (name == "") stop(of, what, " is empty")
    name
  }

  # Where a URI is on this machine; NA when it is elsewhere.
  place <- function(uri) {
    if (!is.character(uri) || length(uri) != 1 || is.na(uri)) stop("the URI is not one text")
    if (uri == "") stop("the URI is empty")
    if (".." %in% strsplit(uri, "/", fixed = TRUE)[[1]]) stop("`", uri, "`: .. leads out of its place")
    if (startsWith(uri, "file:///")) return(substring(uri, 8))
    if (grepl("://", uri, fixed = TRUE)) return(NA)
    if (startsWith(uri, "/")) {
      stop("`", uri, "` begins with a slash, so it is not within the workspace; write file://", uri)
    }
    base <- meson_workspace()
    if (grepl("://", base, fixed = TRUE)) NA else file.path(base, uri)
  }

  fs <- function(...) {
    program <- Sys.getenv("MESON_FS")
    if (program == "") stop("MESON_FS is not set: this works in steps of Meson that are no containers")
    # Bytes as they are, whatever the locale.
    arguments <- enc2utf8(c("fs", ...))
    Encoding(arguments) <- "unknown"
    said <- suppressWarnings(system2(program, shQuote(arguments), stdout = TRUE, stderr = TRUE))
    if (!is.null(attr(said, "status"))) stop(paste(said, collapse = "\n"))
    invisible()
  }

  # Whole or not at all: under another name until all of it is there.
  copy <- function(from, to) {
    if (!file.exists(from)) stop(from, " is not there")
    dir.create(dirname(to), recursive = TRUE, showWarnings = FALSE)
    part <- tempfile(".meson-", dirname(to), ".part")
    on.exit(unlink(part, recursive = TRUE))
    if (dir.exists(from)) {
      if (file.exists(to)) stop(to, " is there already; remove it first")
      dir.create(part)
      made <- file.copy(from, part, recursive = TRUE) && file.rename(file.path(part, basename(from)), to)
    } else {
      made <- file.copy(from, part) && file.rename(part, to)
    }
    if (!made) stop(from, " could not be copied to ", to)
    invisible()
  }

  # Nothing in a message is worth a failure of the step.
  bounded <- function(message) {
    message <- iconv(enc2utf8(paste(message, collapse = " ")), "UTF-8", "UTF-8", sub = "?")
    bytes <- charToRaw(message)
    if (length(bytes) <= soft_bytes_max) return(message)
    # Not within a letter: a byte 10xxxxxx goes on with the one before.
    end <- soft_bytes_max
    while ((bytes[end + 1] & as.raw(0xc0)) == as.raw(0x80)) end <- end - 1
    cut <- rawToChar(bytes[seq_len(end)])
    Encoding(cut) <- "UTF-8"
    cut
  }

  # One write of the whole line at the file's end, so that lines of several processes do not mix. R itself writes in
  # pieces of its buffer, so a long line goes to the file by one read and one write of dd.
  say <- function(line) {
    path <- Sys.getenv("MESON_EVENTS")
    if (path == "") {
      base::message("meson (dry run): ", line)
      return(invisible())
    }
    whole <- c(charToRaw(line), as.raw(10))
    if (length(whole) <= write_bytes_max) {
      append_bytes(path, whole)
    } else {
      long <- tempfile("meson-line-")
      on.exit(unlink(long))
      append_bytes(long, whole)
      from_to <- shQuote(c(paste0("if=", long), paste0("of=", path)))
      options <- c("bs=4M", "oflag=append", "conv=notrunc", "status=none")
      if (system2("dd", c(from_to, options)) != 0) stop("a line could not be written to ", path)
    }
    invisible()
  }

  append_bytes <- function(path, bytes) {
    file <- base::file(path, "ab")
    on.exit(close(file))
    writeBin(bytes, file)
  }

  simple <- function(value) {
    if (!is.list(value)) return(value)
    kinds <- unique(vapply(value, function(item) {
      if (is.null(item)) "null" else if (is.numeric(item)) "number" else typeof(item)
    }, ""))
    kinds <- setdiff(kinds, "null")
    if (is.null(names(value)) && length(kinds) == 1 && kinds != "list") {
      return(unlist(lapply(value, function(item) if (is.null(item)) NA else item)))
    }
    lapply(value, simple)
  }
})
