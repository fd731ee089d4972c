#!/usr/bin/env python3
"""Steps of kind `test/waits`: they do what tests/src/waiting.rs says of steps. What they hold is a file of the workspace."""

import json
import os
import time
from pathlib import Path

WORKSPACE, STEP = Path(os.environ["MESON_WORKSPACE"]), os.environ["MESON_STEP"]


def say(**event):
    with open(os.environ["MESON_EVENTS"], "a", encoding="utf-8") as events:
        events.write(json.dumps(event) + "\n")


def begin():
    """Gives the number of this beginning."""
    is_held = any(WORKSPACE.glob(f"{STEP}.held-*"))
    (WORKSPACE / f"{STEP}.held-{os.environ['MESON_ATTEMPT_ID']}").touch()
    with open(WORKSPACE / f"{STEP}.begun", "a+", encoding="utf-8") as begun:
        begun.seek(0)
        earlier = begun.read().split()
        begun.write(f"{os.getpid()}\n")
    if is_held or any(os.path.exists(f"/proc/{pid}/cwd") for pid in earlier):
        (WORKSPACE / f"{STEP}.beside").touch()
    return len(earlier) + 1


def wait(name):
    while not (WORKSPACE / name).exists():
        # tidy: allow sleep: it is the step that waits
        time.sleep(0.1)


def main():
    begun = begin()
    with open(os.environ["MESON_CONFIG"], encoding="utf-8") as config:
        eaten = b"x" * json.load(config).get("eats", 0)
    say(percent=50, message="half", data={"begun": begun})
    wait("again")
    say(percent=75)
    wait("go")
    say(output={"begun": begun}, message=f"{len(eaten)} bytes were eaten")


if __name__ == "__main__":
    main()
