"""What a step says: one line of JSON a call, checked before it is written."""

import os
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Optional, Set, Union, overload

from ._json import encode, plain

# The executor's own limits (executor/src/events.rs). It counts what all processes of the attempt say, and so has the
# last word; here each process counts what it said itself.
OUTPUT_BYTES_MAX = 64 * 1024
SOFT_BYTES_MAX = 16 * 1024
ARTIFACTS_MAX = 1_000

_lock = threading.Lock()
_output_bytes: Dict[str, int] = {}
_artifacts: Set[str] = set()


def progress(percent: float, message: Optional[str] = None) -> None:
    """Percent complete, 0 to 100, and what is being done."""
    percent = plain(percent, "percent")
    if isinstance(percent, bool) or not isinstance(percent, (int, float)):
        raise TypeError(f"percent is {percent!r}, not a number")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent}, not between 0 and 100")
    _say({"percent": percent} if message is None else {"percent": percent, "message": _bounded(message)})


def message(text: str) -> None:
    """What is being done. Longer texts than 16 KiB are cut."""
    _say({"message": _bounded(text)})


_NOTHING: Any = object()


@overload
def output(name: str, value: Any, /) -> None: ...
@overload
def output(**values: Any) -> None: ...
def output(name: Any = _NOTHING, value: Any = _NOTHING, /, **values: Any) -> None:
    """Small values for later steps, by name: at most 64 KiB of JSON an attempt. The last value of a name counts."""
    if name is not _NOTHING:
        if value is _NOTHING:
            raise TypeError("an output has a name and a value")
        values = {_named(name, "an output"): value, **values}
    if not values:
        raise TypeError("an output has a name and a value")
    values = {name: plain(value, f"output {name!r}") for name, value in values.items()}
    sizes = {name: _bytes({name: value}) - 1 for name, value in values.items()}
    with _lock:
        # An object's braces and commas: one more than it has members.
        total = sum({**_output_bytes, **sizes}.values()) + 1
        if total > OUTPUT_BYTES_MAX:
            raise ValueError(
                f"outputs would be {total} bytes, more than {OUTPUT_BYTES_MAX} in all; "
                "publish large values as an artifact and hand on its URI"
            )
        _output_bytes.update(sizes)
    _say({"output": values})


def artifact(name: str, uri: Union[str, "os.PathLike[str]"]) -> None:
    """Something that this step made and others may fetch. A path becomes a file:// URI; a text is taken as it is."""
    _named(name, "an artifact")
    if not isinstance(uri, str):
        uri = Path(uri).resolve().as_uri()
    plain(uri, f"the URI of artifact {name!r}")
    if not uri:
        raise ValueError(f"artifact {name!r} has an empty URI")
    with _lock:
        if name not in _artifacts and len(_artifacts) >= ARTIFACTS_MAX:
            raise ValueError(f"more than {ARTIFACTS_MAX} artifacts; publish a directory as one")
        _artifacts.add(name)
    _say({"artifact": {"name": name, "uri": uri}})


def data(**values: Any) -> None:
    """Custom data for those who listen to the run: at most 16 KiB of JSON. Each call replaces what was said before."""
    values = {name: plain(value, f"data {name!r}") for name, value in values.items()}
    if _bytes(values) > SOFT_BYTES_MAX:
        raise ValueError(f"data is {_bytes(values)} bytes, more than {SOFT_BYTES_MAX}")
    _say({"data": values})


def _named(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} is {name!r}, not text")
    if not name:
        raise ValueError(f"the name of {what} is empty")
    plain(name, f"the name of {what}")
    return name


def _bounded(text: Any) -> str:
    # Nothing in a message is worth a failure of the step.
    return str(text).encode(errors="replace")[:SOFT_BYTES_MAX].decode(errors="ignore")


def _bytes(value: Any) -> int:
    return len(encode(value).encode())


def _say(event: Dict[str, Any]) -> None:
    line = encode(event)
    path = os.environ.get("MESON_EVENTS")
    if not path:
        print(f"meson (dry run): {line}", file=sys.stderr, flush=True)
        return
    # One write of the whole line at the file's end, so that lines of several threads and processes do not mix.
    whole = f"{line}\n".encode()
    events = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(events, whole)
    finally:
        os.close(events)
    if written != len(whole):
        raise OSError(f"only {written} of {len(whole)} bytes could be written to {path}")


def _after_fork() -> None:
    # Another thread of the parent may have held the lock.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
