"""What a step's own code says to Meson, and what it is told.

    import meson_sdk as meson

    regions = meson.params()["regions"]
    for region in meson.track(regions):
        train(region)
    meson.output(regions=regions, rmse=0.87)
    meson.artifact("model", "file:///models/7")

Outside of Meson there is nobody to listen: what would be said is printed to stderr, and `params()` is empty. So a script
can be tried by hand.
"""

import functools
import json
import os
import sys
import time
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, TypeVar

__all__ = ["artifact", "attempt", "data", "fence", "message", "output", "params", "progress", "run_id", "step", "track",
           "workspace"]

T = TypeVar("T")

#: Outputs of an attempt in all, as JSON; larger things are artifacts.
OUTPUT_BYTES_MAX = 64 * 1024
#: Custom data of one call, as JSON.
DATA_BYTES_MAX = 16 * 1024
#: Seconds between two reports of `track`.
TRACK_SECONDS = 1.0

run_id: Optional[str] = os.environ.get("MESON_RUN_ID")
step: Optional[str] = os.environ.get("MESON_STEP")
attempt: int = int(os.environ.get("MESON_ATTEMPT", "1"))
#: Grows from attempt to attempt of a step: for stores that can refuse a late writer.
fence: int = int(os.environ.get("MESON_FENCE", "0"))


def progress(percent: float, message: Optional[str] = None) -> None:
    """Says how much is done, from 0 to 100, and perhaps what goes on.

    Raises ValueError for what is no percentage.
    """
    percent = float(percent)
    if not 0 <= percent <= 100:
        raise ValueError(f"progress is from 0 to 100, not {percent}")
    event: Dict[str, Any] = {"percent": percent}
    if message is not None:
        event["message"] = str(message)
    _say(event)


def message(text: str) -> None:
    """Says what goes on, for people."""
    _say({"message": str(text)})


def output(values: Optional[Mapping[str, Any]] = None, **named: Any) -> None:
    """Hands small values to later steps, which read them as `outputs.<this step>.<name>`. Of a name, the last value counts.

    Raises ValueError when JSON cannot hold a value, or all of them are larger than OUTPUT_BYTES_MAX.
    """
    merged = {**(values or {}), **named}
    text = _json(merged)
    if len(text.encode()) > OUTPUT_BYTES_MAX:
        raise ValueError(f"outputs are larger than {OUTPUT_BYTES_MAX} bytes: publish an artifact, and hand on its URI")
    _say({"output": merged})


def artifact(name: str, uri: str) -> None:
    """Tells of something that was published: a file, a table, a model."""
    if not name or not uri:
        raise ValueError("an artifact needs a name and a URI")
    _say({"artifact": {"name": str(name), "uri": str(uri)}})


def data(values: Optional[Mapping[str, Any]] = None, **named: Any) -> None:
    """Gives custom data to whoever watches the run. The newest counts.

    Raises ValueError when JSON cannot hold a value, or all of them are larger than DATA_BYTES_MAX.
    """
    merged = {**(values or {}), **named}
    if len(_json(merged).encode()) > DATA_BYTES_MAX:
        raise ValueError(f"data is larger than {DATA_BYTES_MAX} bytes")
    _say({"data": merged})


@functools.lru_cache(maxsize=None)
def params() -> Dict[str, Any]:
    """The parameters of the run."""
    path = os.environ.get("MESON_PARAMS")
    if not path:
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def workspace() -> str:
    """The run's temporary storage, shared by its steps: a directory, or an `hdfs://` URI."""
    return os.environ.get("MESON_WORKSPACE", os.getcwd())


def track(items: Iterable[T], total: Optional[int] = None) -> Iterator[T]:
    """The same items; progress is said as they are taken, about once a second.

    Raises ValueError when there is no telling how many there are.
    """
    if total is None:
        try:
            total = len(items)  # type: ignore[arg-type]
        except TypeError:
            raise ValueError("say how many items there are: track(items, total=…)") from None
    said = time.monotonic()
    for number, item in enumerate(items):
        yield item
        now = time.monotonic()
        if total and now - said >= TRACK_SECONDS:
            said = now
            progress(min(100.0, 100.0 * (number + 1) / total))


def _plain(value: Any) -> Any:
    """Numbers of numpy and the like know their plain form."""
    for name in ("item", "tolist"):
        plain = getattr(value, name, None)
        if callable(plain):
            try:
                return plain()
            except (TypeError, ValueError):
                continue
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


def _json(value: Any) -> str:
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    except TypeError as error:
        raise ValueError(str(error)) from None


def _say(event: Mapping[str, Any]) -> None:
    line = _json(event) + "\n"
    path = os.environ.get("MESON_EVENTS")
    if not path:
        sys.stderr.write("meson: " + line)
        return
    # Opened each time, and one write for a line: threads and child processes may speak at once.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
