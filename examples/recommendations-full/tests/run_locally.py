"""Runs the steps without Meson: Spark in this machine's processes, R, Scala; and prints the figures of each pass and the
report. Needs what scripts/setup-engines and scripts/fetch-movielens make, and R. A workspace that is a URI needs MESON_FS.

It stands in for the workflow and for two servers: Hive's SQL runs in Spark, and no container publishes the package."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steps import EXAMPLE, FOLDER, ROOT

RUN = "local"
SPARK = {
    "spark.master": "local[2]",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.log.level": "ERROR",
}
# Half the processor's time of such short programs is the second compiler's.
JAVA = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


class Engines:
    """Commands for each technology."""

    def __init__(self, folder, work):
        self.python = folder / "spark/bin/python"
        self.submit = folder / "spark/bin/spark-submit"
        jars = next(folder.glob("spark/lib/python3*/site-packages/pyspark/jars"), None)
        if jars is None:
            raise SystemExit(f"no Spark in {folder}: make it with scripts/setup-engines {folder}")
        self.classes = work / "classes"
        self.jars = f"{jars}/*"
        self.work = work

    def compile_helper(self):
        """What the executor does for the first Scala step."""
        self.classes.mkdir()
        compiler = ["java", *JAVA, "-cp", self.jars, "scala.tools.nsc.Main", "-usejavacp", "-d", self.classes]
        subprocess.run([*compiler, ROOT / "scala/Meson.scala"], check=True)

    def command(self, script):
        """How a script is run, by what its name ends in; `.spark` before that means Spark."""
        if script.suffix == ".R":
            return ["Rscript", "--no-init-file", script]
        if script.suffix == ".scala":
            runner = ["scala.tools.nsc.MainGenericRunner", "-usejavacp", "-nc", script]
            return ["java", *JAVA, "-Xmx350m", "-cp", f"{self.classes}:{self.jars}", *runner]
        if "pyspark" not in script.read_text(encoding="utf-8"):
            return [self.python, script]
        settings = SPARK | {
            "spark.sql.warehouse.dir": f"{self.work}/warehouse",
            "spark.driver.extraJavaOptions": f"{' '.join(JAVA)} -Dderby.system.home={self.work}",
        }
        options = [f"--conf={name}={value}" for name, value in settings.items()]
        return [self.submit, *options, script]


class Step:
    """Runs scripts as a workflow's steps and keeps what they say."""

    def __init__(self, engines, work, workspace):
        self.engines, self.work, self.count = engines, work, 0
        self.workspace = workspace or str(work / "workspace")
        if "://" not in self.workspace:
            Path(self.workspace).mkdir()

    def __call__(self, script, *plain, **arguments):
        """The outputs of a step, and its standard output as `said`."""
        self.count += 1
        folder = self.work / f"{self.count}-{Path(script).stem}"
        folder.mkdir()
        events = folder / "events.jsonl"
        events.touch()
        contract = {
            "MESON_RUN_ID": RUN,
            "MESON_EVENTS": str(events),
            "MESON_WORKSPACE": self.workspace,
            "MESON_R": os.environ.get("MESON_R", str(ROOT / "r/meson.R")),
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT / "python")])),
            "PYSPARK_PYTHON": str(self.engines.python),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        _check_names(script, set(arguments))
        options = [f"--{name}={_text(value)}" for name, value in arguments.items()]
        started = time.monotonic()
        done = subprocess.run(
            [*self.engines.command(EXAMPLE / script), *plain, *options],
            cwd=folder,
            env=os.environ | contract,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(f"{script} failed with status {done.returncode}:\n{done.stderr[-5_000:]}")
        return _outputs(events, script, time.monotonic() - started) | {"said": done.stdout}


def _check_names(script, given):
    """That a step is given here what the workflows give it."""
    for name in ("workflow", "load"):
        text = (EXAMPLE / f"{name}.yaml").read_text(encoding="utf-8")
        _, found, rest = text.partition(f"{{{{ params.home }}}}/{script}\"")
        if found and given != set(re.findall(r'"--([\w-]+)=', rest.partition("- id:")[0])):
            raise SystemExit(f"{script} is given {', '.join(sorted(given))}, which is not what {name}.yaml gives it")


def _text(value):
    return value if isinstance(value, (str, Path)) else json.dumps(value)


def _outputs(events, script, seconds):
    outputs, message = {}, ""
    for line in events.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        outputs |= event.get("output", {})
        message = event.get("message", message)
    print(f"  {Path(script).name:<22} {seconds:5.1f} s  {message}", flush=True)
    return outputs


def one_pass(step, pool, given, number, regularisation, regions):
    """Everything that workflow.yaml repeats: whether it is stable, what the passes put out, and a line of history."""
    settings = {"pass": number, "iterations": given.iterations, "regularisation": regularisation}

    def everywhere():
        step("steps/train_global.py", factors=given.factors, **settings)
        return step("steps/validate_global.py", **{"pass": number})

    def regional(region):
        step("steps/train_region.R", region=region, factors=given.factors, **settings)
        return step("steps/validate_region.R", region=region, **{"pass": number})["figures"]

    whole = pool.submit(everywhere)
    each = [pool.submit(regional, region) for region in regions]
    joined = step("steps/join_regions.py", regions=regions, figures=[one.result() for one in each])
    whole = whole.result()
    selected = step("steps/select_model.scala", **{"global": whole["by_region"]}, regional=joined["by_region"])
    figures = {name: selected[name] for name in ("rmse", "disagreement")} | {"baseline": whole["figures"]["baseline"]}
    settings = {"pass": number, "max_passes": given.max_passes, "bound": given.stability_bound}
    verdict = step("steps/validate_model.scala", **settings, **figures)
    outputs = figures | {"passes": number, "regularisation": regularisation}
    outputs |= {"chosen": selected["chosen"], "missing": joined["missing"]}
    line = {"number": number, "regularisation": regularisation, "objections": verdict["objections"]} | figures
    return verdict["stable"], outputs | {"rmse_global": whole["figures"]["rmse"]}, line


def run(given, work):
    """The whole pipeline; the archive that it packs."""
    engines = Engines(given.engines.resolve(), work)
    step = Step(engines, work, given.workspace)
    engines.compile_helper()
    step("steps/export_tables.py", data=given.data.resolve(), to=work / "tables")
    paths = [work / "tables", FOLDER, step.workspace, str(given.min_ratings)]
    cohort = json.loads(step("tests/local_sql.py", *paths)["said"])
    wrangled = step("steps/wrangle.py")
    wrangled.pop("said")
    stable, number, regularisation, history = False, 0, given.regularisation, []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while not stable:
            number += 1
            print(f"pass {number}, regularisation {regularisation:g}")
            stable, outputs, line = one_pass(step, pool, given, number, regularisation, wrangled["regions"])
            history.append(line)
            regularisation *= 2
    figures = outputs | {"history": history}
    step("steps/package.py", run=RUN, figures=figures, cohort=cohort, wrangled=wrangled)
    return step.work / f"{step.count}-package/package.tar.gz"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=ROOT / "data/movielens/movielens.sqlite")
    arguments.add_argument("--engines", type=Path, default=ROOT / "data/engines")
    arguments.add_argument("--work", type=Path, help="made afresh and kept; without it a temporary folder")
    arguments.add_argument("--workspace", help="URI such as hdfs://…; default: a folder")
    arguments.add_argument("--min-ratings", type=int, default=30)
    arguments.add_argument("--factors", type=int, default=12)
    arguments.add_argument("--iterations", type=int, default=10)
    arguments.add_argument("--regularisation", type=float, default=0.06)
    arguments.add_argument("--stability-bound", type=float, default=0.3)
    arguments.add_argument("--max-passes", type=int, default=5)
    given = arguments.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary, "work")).resolve()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        archive = run(given, work)
        print(f"{time.monotonic() - started:.1f} s in all\n")
        package = work / "package"
        with tarfile.open(archive) as tar:
            tar.extractall(package)
        print((package / "report.md").read_text(encoding="utf-8"))
        sys.exit(subprocess.run([sys.executable, EXAMPLE / "check_figures.py", package / "report.json"]).returncode)


if __name__ == "__main__":
    main()
