"""Values as the executor takes them: strict JSON, finite, of 64-bit integers and bounded depth.

The executor ignores a line that it cannot read. So all that it would refuse is refused here, where it can still be
put right.
"""

import json
import math
from typing import Any, Mapping

DEPTH_MAX = 100
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1


def encode(value: Any) -> str:
    """Compact JSON of a plain value."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """The same value of None, bool, int, float, str, list and dict alone. `where` names it in errors."""
    if depth > DEPTH_MAX:
        raise ValueError(f"{where} is nested deeper than {DEPTH_MAX} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise ValueError(f"{where} does not fit into 64 bits; hand it on as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which JSON cannot say; use None")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    # Scalars of numpy and its like; an array has a shape and says for itself how to become a list.
    if callable(getattr(value, "item", None)) and getattr(value, "shape", ()) == ():
        return plain(value.item(), where, depth + 1)
    remedy = "; use .tolist()" if hasattr(value, "tolist") else ""
    raise TypeError(f"{where} is of type {type(value).__name__}, which is not JSON{remedy}")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where} has the key {key!r}; keys are text")
    return _text(key, f"a key of {where}")


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} is not valid Unicode: {text!r:.80}") from None
    return str(text)
