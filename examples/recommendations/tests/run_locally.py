"""Runs the steps of the pipeline by hand, without Meson, in the order and with the arguments of workflow.yaml: a check
that they work, and a way to see their figures. Only the models of a pass run side by side, as Meson would run them.

Usage: run_locally.py --data movielens.sqlite [--work FOLDER] [--min-ratings N] …
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STEPS = Path(__file__).resolve().parent.parent / "steps"
RUN = "local"


class Step:
    """Runs steps under the task contract, each attempt in a folder of its own."""

    def __init__(self, work):
        self.work, self.count = work, 0

    def __call__(self, script, **arguments):
        self.count += 1
        folder = self.work / "attempts" / f"{self.count}-{script}"
        (folder / "work").mkdir(parents=True)
        (self.work / "workspace").mkdir(exist_ok=True)
        (folder / "params.json").write_text("{}")
        events = folder / "events.jsonl"
        contract = {
            "MESON_RUN_ID": RUN,
            "MESON_PARAMS": str(folder / "params.json"),
            "MESON_EVENTS": str(events),
            "MESON_WORKSPACE": str(self.work / "workspace"),
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, str(STEPS / f"{script}.py")]
        command += [f"--{name.replace('_', '-')}={_text(value)}" for name, value in arguments.items()]
        started = time.monotonic()
        done = subprocess.run(command, cwd=folder / "work", env=os.environ | contract, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{script} failed with status {done.returncode}:\n{done.stderr}")
        return _said(events, script, time.monotonic() - started)


def _text(value):
    return value if isinstance(value, (str, Path)) else json.dumps(value)


def _said(events, script, seconds):
    """The outputs of a step; prints its last message."""
    outputs, message, percents = {}, "", []
    for line in events.read_text().splitlines():
        event = json.loads(line)
        outputs |= event.get("output", {})
        message = event.get("message", message)
        percents += [event["percent"]] if "percent" in event else []
    if percents != sorted(percents):
        raise SystemExit(f"{script} went backwards: {percents}")
    print(f"  {script:<15} {seconds:5.1f} s  {len(percents):3} reports  {message}", flush=True)
    return outputs


def one_pass(step, pool, given, number, regularisation, regions):
    """Everything that workflow.yaml repeats."""
    settings = {"pass": number, "factors": given.factors, "epochs": given.epochs, "regularisation": regularisation}

    def everywhere():
        step("train", **settings)
        return step("validate", **{"pass": number, "regions": regions})

    def regional(region):
        step("train", region=region, **settings)
        return step("validate", **{"region": region, "pass": number})["figures"]

    whole = pool.submit(everywhere)
    each = [pool.submit(regional, region) for region in regions]
    joined = step("join_regions", regions=regions, figures=[one.result() for one in each])
    selected = step("select_model", everywhere=whole.result()["by_region"], regional=joined["by_region"])
    figures = whole.result()["figures"]
    verdict = step(
        "validate_model",
        **{"pass": number, "max_passes": given.max_passes, "regularisation": regularisation},
        **{"rmse": selected["rmse"], "baseline": figures["baseline"]},
        **{"disagreement": selected["disagreement"], "bound": given.stability_bound},
    )
    outputs = {"passes": number, "regularisation": regularisation, "rmse_global": figures["rmse"]}
    return verdict["stable"], outputs | selected | {"baseline": figures["baseline"]}


def run(given, work):
    """The whole pipeline; what it published, and the outputs of its last pass."""
    step = Step(work)
    cohort = step("select_users", data=given.data.resolve(), min_ratings=given.min_ratings)
    regions = step("wrangle")["regions"]
    stable, number, regularisation = False, 0, given.regularisation
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while not stable:
            number += 1
            print(f"pass {number}, regularisation {regularisation:g}")
            stable, outputs = one_pass(step, pool, given, number, regularisation, regions)
            regularisation *= 2
    print("publish")
    published = step("publish", to=work / "published", run=RUN, figures=outputs, cohort=cohort)
    return published["report"], outputs


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--work", type=Path, help="kept; without it a temporary folder")
    arguments.add_argument("--min-ratings", type=int, default=30)
    arguments.add_argument("--factors", type=int, default=8)
    arguments.add_argument("--epochs", type=int, default=8)
    arguments.add_argument("--regularisation", type=float, default=4)
    arguments.add_argument("--stability-bound", type=float, default=0.3)
    arguments.add_argument("--max-passes", type=int, default=5)
    given = arguments.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        report, _ = run(given, work)
        print(f"{time.monotonic() - started:.1f} s in all\n")
        print(Path(report).read_text())


if __name__ == "__main__":
    main()
