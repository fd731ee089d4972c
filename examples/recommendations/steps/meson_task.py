"""The task contract in a few calls: what a step says, it appends as a line of JSON to the file $MESON_EVENTS.

Run by hand, without Meson, a step says it on its standard output.
"""

import json
import os
from pathlib import Path


def _say(event):
    line = json.dumps(event, allow_nan=False) + "\n"
    path = os.environ.get("MESON_EVENTS")
    if not path:
        print(line, end="")
        return
    # One write of the whole line: nobody reads half of it.
    with open(path, "ab", buffering=0) as events:
        events.write(line.encode())


def progress(percent, text=None):
    """Percent complete, 0 to 100, and what is being done."""
    _say({"percent": round(percent, 1)} | ({"message": text} if text else {}))


def message(text):
    """What is being done."""
    _say({"message": text})


def output(**values):
    """Small values for later steps."""
    _say({"output": values})


def artifact(name, path):
    """A file that this step made."""
    _say({"artifact": {"name": name, "uri": Path(path).resolve().as_uri()}})


def params():
    """The parameters that Meson hands to the step."""
    path = os.environ.get("MESON_PARAMS")
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def workspace():
    """The run's folder, shared by its steps."""
    return Path(os.environ["MESON_WORKSPACE"])


def write_atomically(path, write):
    """Calls `write` with a temporary path beside `path` and then puts the result in place, so that a step that is tried
    again neither leaves nor finds half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
