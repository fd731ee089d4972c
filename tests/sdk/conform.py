"""Makes the calls of a table with meson_sdk. Usage: conform.py CASES; prints, per call, a line "said" or "refused: why"."""

import json
import sys

import meson_sdk as meson


def facts():
    names = ("run_id", "workflow", "step", "attempt", "attempt_id", "fence", "workspace")
    meson.output("facts", {name: getattr(meson, name)() for name in names})


CALLS = {
    "progress": meson.progress,
    "message": meson.message,
    "output": meson.output,
    "outputs": lambda values: meson.output(**values),
    "artifact": meson.artifact,
    "data": lambda values: meson.data(**values),
    "download": meson.download,
    "upload": meson.upload,
    "params": lambda: meson.output("params", meson.params()),
    "facts": facts,
}

with open(sys.argv[1], encoding="utf-8") as table:
    for case in json.load(table):
        try:
            CALLS[case["call"]](*case["args"])
            print("said")
        except (TypeError, ValueError) as error:
            print("refused:", str(error).replace("\n", " "))
