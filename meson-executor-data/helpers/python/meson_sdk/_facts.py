"""What Meson tells a step: who it is, its parameters, and where its run keeps temporary files."""

import functools
import json
import os
from types import MappingProxyType
from typing import Any, Mapping, Optional


def run_id() -> Optional[str]:
    """The run; None outside Meson, like all facts."""
    return os.environ.get("MESON_RUN_ID")


def workflow() -> Optional[str]:
    """The workflow's name."""
    return os.environ.get("MESON_WORKFLOW")


def step() -> Optional[str]:
    """The step within the run."""
    return os.environ.get("MESON_STEP")


def attempt() -> Optional[int]:
    """Which try of the step this is, from 1."""
    return _number("MESON_ATTEMPT")


def attempt_id() -> Optional[str]:
    """The attempt's id, unique everywhere."""
    return os.environ.get("MESON_ATTEMPT_ID")


def fence() -> Optional[int]:
    """A number that only grows from attempt to attempt of a step, for stores that can refuse a late writer."""
    return _number("MESON_FENCE")


def workspace() -> str:
    """The run's temporary storage, shared by its steps: a directory or an hdfs:// URI. Outside Meson, the working
    directory."""
    return os.environ.get("MESON_WORKSPACE") or os.getcwd()


def params() -> Mapping[str, Any]:
    """The step's parameters, read once. Outside Meson there are none, unless $MESON_PARAMS names a JSON file."""
    path = os.environ.get("MESON_PARAMS")
    return _read(path) if path else MappingProxyType({})


@functools.lru_cache(maxsize=None)
def _read(path: str) -> Mapping[str, Any]:
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no JSON object")
    return MappingProxyType(values)


def _number(name: str) -> Optional[int]:
    value = os.environ.get(name)
    return int(value) if value else None
