"""The task contract in four calls: what a step says, it appends as a line of JSON to the file $MESON_EVENTS."""

import json
import os
from pathlib import Path


def _say(event):
    path = os.environ.get("MESON_EVENTS")
    line = json.dumps(event)
    if path is None:  # run by hand
        print(line)
        return
    with open(path, "a", encoding="utf-8") as events:
        events.write(line + "\n")


def progress(percent, message=None):
    """Percent complete, 0 to 100, and what is being done."""
    _say({"percent": round(percent, 1)} | ({"message": message} if message else {}))


def output(**values):
    """Small values for later steps."""
    _say({"output": values})


def artifact(name, path):
    """A file that this step made."""
    _say({"artifact": {"name": name, "uri": Path(path).resolve().as_uri()}})


def workspace():
    """The run's folder, shared by its steps."""
    return Path(os.environ["MESON_WORKSPACE"])


def write_atomically(path, write):
    """Calls `write` with a temporary path beside `path` and puts the result in place, so that a step that is tried again
    never leaves or finds half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    write(partial)
    partial.replace(path)
