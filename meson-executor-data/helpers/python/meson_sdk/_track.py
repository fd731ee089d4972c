"""Progress of a loop."""

import time
from typing import Iterable, Iterator, Optional, Sized, Tuple, TypeVar

from ._say import progress

Item = TypeVar("Item")


def track(
    iterable: Iterable[Item],
    total: Optional[int] = None,
    *,
    span: Tuple[float, float] = (0.0, 100.0),
    every_s: float = 1.0,
) -> Iterator[Item]:
    """The same items; as they are done, progress is reported, at most once in `every_s` seconds and at the end.

    `total` is needed for what has no length. `span` is the part of the step's percents that the loop takes."""
    if total is None:
        if not isinstance(iterable, Sized):
            raise TypeError("say the total: this iterable has no length")
        total = len(iterable)
    first, last = span
    if not 0 <= first <= last <= 100:
        raise ValueError(f"span is {span}, not a part of 0 to 100")
    return _tracked(iterable, total, first, last, every_s)


def _tracked(iterable: Iterable[Item], total: int, first: float, last: float, every_s: float) -> Iterator[Item]:
    said = time.monotonic()
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if done < total and now - said >= every_s:
            progress(round(first + (last - first) * done / total, 1))
            said = now
    progress(last)
