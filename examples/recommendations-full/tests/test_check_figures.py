"""What is plausible about a report and its package passes; each thing that is not is named."""

import copy
import hashlib
import json
import math
import re
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import steps

sys.path.insert(0, str(steps.EXAMPLE))
import check_figures as check


def line(number, regularisation, disagreement, *objections):
    figures = {"rmse": 0.8791, "baseline": 0.8853, "disagreement": disagreement}
    return {"number": number, "regularisation": regularisation, "objections": list(objections)} | figures


GOOD = {
    "cohort": check.COHORT,
    "rmse_global": 0.8791,
    "rmse": 0.8791,
    "baseline": 0.8853,
    "disagreement": 0.29,
    "regularisation": 0.24,
    "passes": 3,
    "missing": [],
    "history": [line(1, 0.06, 0.63, "too far"), line(2, 0.12, 0.45, "too far"), line(3, 0.24, 0.29)],
    "chosen": {
        region: {"model": "global", "rmse": 0.9, "rmse_global": 0.9, "rmse_regional": 0.95, "ratings": 10}
        for region in check.REGIONS
    },
}


def changed(**changes):
    """The good figures with others at these places, which are parted by two underlines."""
    figures = copy.deepcopy(GOOD)
    for place, value in changes.items():
        *path, last = place.split("__")
        inner = figures
        for name in path:
            inner = inner[int(name) if name.isdecimal() else name]
        inner[int(last) if last.isdecimal() else last] = value
    return figures


class Figures(unittest.TestCase):
    def check(self, changes, *names):
        found = check.objections(changed(**changes))
        self.assertEqual(len(found), len(names), found)
        for name, objection in zip(names, found):
            self.assertIn(name, objection)

    def test_plausible_figures_pass(self):
        self.assertEqual(check.objections(GOOD), [])

    def test_a_last_digit_is_no_difference(self):
        last_digit = math.nextafter(0.8791, 1)
        self.check({"rmse": last_digit, "history__2__rmse": last_digit})

    def test_the_result(self):
        self.check({"rmse_global": 0.86}, "rmse_global", "selected")
        self.check({"rmse_global": "0.8791"}, "rmse_global", "rmse_global", "selected")
        self.check({"baseline": 0.9, "history__2__baseline": 0.9}, "baseline")
        self.check({"rmse": 0.8795, "history__2__rmse": 0.8795}, "selected")
        self.check({"disagreement": 0.31, "history__2__disagreement": 0.31}, "halves")
        self.check({"cohort": {"users": 552}}, "cohort")

    def test_a_model_without_factors_is_no_better_than_biases(self):
        found = check.objections(changed(rmse_global=0.8852, rmse=0.8852))
        self.assertTrue(any("biases alone" in each for each in found), found)

    def test_what_the_passes_carried(self):
        self.check({"history__1__regularisation": 0.06}, "to the next", "to the next")
        self.check({"history__1__disagreement": 0.7}, "ought to fall")
        self.check({"history__0__objections": []}, "nothing spoke against pass 1")
        self.check({"history__2__objections": ["too far"]}, "last pass")
        self.check({"history__1__number": 1}, "out of order")
        self.check({"history": GOOD["history"][2:], "passes": 1}, "1 passes", "out of order")
        self.check({"history": [], "passes": 3}, "history of 0 passes")
        self.check({"regularisation": 0.12}, "regularisation in the last line", "stable with regularisation")

    def test_a_region_has_a_model_of_its_own(self):
        self.check({"chosen__US__rmse_regional": None}, "rmse_regional nan of US", "of US")
        self.check({"chosen__US__rmse_regional": 0.85}, "far below")
        self.check({"chosen__US__rmse_regional": 1.4}, "not within")
        self.check({"missing": ["US"]}, "['US']")
        self.check({"chosen": {"US": GOOD["chosen"]["US"]}}, "regions US")

    def test_nothing_is_not_plausible(self):
        self.assertGreater(len(check.objections({})), 8)

    def test_the_numbers_are_the_workflows(self):
        text = (steps.EXAMPLE / "workflow.yaml").read_text(encoding="utf-8")

        def default(name):
            return float(re.search(rf"{name}: \{{ type: number, default: ([\d.]+)", text)[1])

        self.assertEqual(default("stability_bound"), check.STABILITY_BOUND)
        self.assertEqual(default("regularisation") * 4, check.REGULARISATION)


class Package(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        for name in ("report.json", "report.md", "global.json"):
            (self.folder / name).write_text(name)
        for name in ("users", "movies"):
            rows = [f"{each},0.1,0.0,0.5" for each in range(check.COHORT[name])]
            text = "\n".join([f"{name[:-1]},bias,factor1,factor2", *rows])
            (self.folder / f"global-{name}.csv").write_text(text + "\n")
        self.sum()

    def sum(self):
        sums = self.folder / "SHA256SUMS"
        sums.unlink(missing_ok=True)
        files = sorted(self.folder.iterdir())
        sums.write_text("".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in files))

    def check(self, *names, figures=GOOD):
        found = check.check_package(self.folder, figures)
        self.assertEqual(len(found), len(names), found)
        for name, objection in zip(names, found):
            self.assertIn(name, objection)

    def test_a_whole_package_passes(self):
        self.check()

    def test_what_is_missing_or_too_much(self):
        (self.folder / "region-US.rds").touch()
        self.check("files", "checksums")
        self.sum()
        self.check("files")
        self.check(figures=changed(chosen__US__model="US"))
        (self.folder / "SHA256SUMS").unlink()
        self.check("checksums", figures=changed(chosen__US__model="US"))

    def test_what_was_changed(self):
        table = self.folder / "global-users.csv"
        rows = table.read_text().splitlines()
        table.write_text("\n".join(rows[:-1]) + "\n")
        self.check("another checksum", "552 rows")
        table.write_text("\n".join(row.replace("0.5", "0.0") for row in rows) + "\n")
        self.sum()
        self.check("only 0 rows with factors")


class Main(unittest.TestCase):
    def test_figures_come_first(self):
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            report.write_text(json.dumps(changed(missing=["US"])))
            with unittest.mock.patch.object(sys, "argv", ["check_figures.py", str(report)]):
                with self.assertRaises(SystemExit) as ended, unittest.mock.patch("sys.stderr") as stderr:
                    check.main()
        self.assertEqual(ended.exception.code, 1)
        self.assertIn("without a model of their own", "".join(call.args[0] for call in stderr.write.call_args_list))


if __name__ == "__main__":
    unittest.main()
