"""The steps in R and Scala, and the container's script, each run by what it is written for. Needs Rscript, busybox, java and a
Scala compiler: the variable SCALA_JARS names its folder, by default the jars of Spark in data/engines."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import steps

JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx350m"]


def run(command, **environment):
    """A command that has ended."""
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


class R(unittest.TestCase):
    def test_regional_model(self):
        done = run(["Rscript", "--vanilla", Path(__file__).with_name("test_regional.R")])
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_step_finds_its_parts_in_a_folder_with_a_space(self):
        with tempfile.TemporaryDirectory(prefix="my steps ") as folder:
            for path in steps.FOLDER.glob("*.R"):
                shutil.copy(path, folder)
            done = run(["Rscript", "--vanilla", f"{folder}/train_region.R"], MESON_R=str(steps.ROOT / "r/meson.R"))
        self.assertIn("missing argument: --region=", done.stderr)


class Scala(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        found = steps.ROOT.glob("data/engines/spark/lib/python3*/site-packages/pyspark/jars")
        cls.jars = os.environ.get("SCALA_JARS", "").split(":")[0] or next(found, None)
        if cls.jars is None:
            raise RuntimeError("no Scala compiler: run scripts/setup-engines data/engines, or set SCALA_JARS")
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        scripts = [steps.FOLDER / f"{name}.scala" for name in ("select_model", "validate_model")]
        compiler = [*JAVA, "-cp", f"{cls.jars}/*", "scala.tools.nsc.Main", "-usejavacp", "-d", cls.folder]
        done = run([*compiler, "-deprecation", "-Xfatal-warnings", steps.ROOT / "scala/Meson.scala", *scripts])
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)

    def outputs(self, main, **arguments):
        """What a step gives, and how it ended."""
        events = self.folder / "events.jsonl"
        events.write_text("")
        options = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
        done = run([*JAVA, "-cp", f"{self.folder}:{self.jars}/*", main, *options], MESON_EVENTS=str(events))
        outputs = {}
        for line in events.read_text().splitlines():
            outputs |= json.loads(line).get("output", {})
        return outputs, done

    def test_the_better_model_wins_and_the_global_one_when_equal_or_alone(self):
        def figures(rmse, ratings=10, disagreement=0.2):
            return {"rmse": rmse, "ratings": ratings, "disagreement": disagreement, "region": "?"}

        everywhere = {"BR": figures(1.5, 30), "DE": figures(0.9), "GB": figures(0.9), "US": figures(2.0, 10)}
        regional = {"BR": figures(1.0, 30, 0.1), "DE": figures(0.9), "GB": figures(1.0)}
        given = {"global": json.dumps(everywhere), "regional": json.dumps(regional)}
        outputs, done = self.outputs("SelectModel", **given)
        self.assertEqual(done.returncode, 0, done.stderr)
        models = {region: each["model"] for region, each in outputs["chosen"].items()}
        self.assertEqual(models, {"BR": "BR", "DE": "global", "GB": "global", "US": "global"})
        self.assertEqual(outputs["chosen"]["US"]["rmse_regional"], None)
        self.assertEqual(outputs["chosen"]["BR"]["rmse_global"], 1.5)
        self.assertAlmostEqual(outputs["rmse"] ** 2, (30 * 1.0 + 10 * 0.81 + 10 * 0.81 + 10 * 4.0) / 60)
        self.assertAlmostEqual(outputs["disagreement"] ** 2, (30 * 0.01 + 30 * 0.04) / 60)

    def test_models_that_were_measured_on_different_ratings_are_not_compared(self):
        one, other = ({"US": {"rmse": 1.0, "disagreement": 0.2, "ratings": count}} for count in (10, 11))
        outputs, done = self.outputs("SelectModel", **{"global": json.dumps(one)}, regional=json.dumps(other))
        self.assertEqual((outputs, done.returncode), ({}, 1))
        self.assertIn("US were measured on different ratings", done.stderr)

    def verdict(self, number=1, rmse=0.8, disagreement=0.3):
        return self.outputs(
            "ValidateModel", **{"pass": number}, max_passes=2, rmse=rmse, baseline=0.9, disagreement=disagreement, bound=0.3
        )

    def test_stable_only_below_the_baseline_and_within_the_bound(self):
        for rmse, disagreement, count in [(0.8, 0.3, 0), (0.9, 0.31, 2), ("NaN", "NaN", 2)]:
            outputs, done = self.verdict(rmse=rmse, disagreement=disagreement)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(outputs["objections"]), count, outputs)
            self.assertEqual(outputs["stable"], count == 0)

    def test_the_last_pass_fails_when_it_is_not_stable(self):
        outputs, done = self.verdict(number=2, rmse=1.0)
        self.assertEqual((outputs, done.returncode), ({}, 1))
        self.assertEqual(
            done.stderr, "not stable after 2 passes: rmse 1.0000 is not below the 0.9000 of biases alone\n"
        )


class Publish(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.package, self.published = self.folder / "package", self.folder / "published"
        self.package.mkdir()
        self.published.mkdir()
        (self.package / "a.txt").write_text("a")
        digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        (self.package / "SHA256SUMS").write_text(f"{digest}  a.txt\n")
        self.events = self.folder / "events.jsonl"

    def publish(self, name, where="/host"):
        self.events.write_text("")
        command = ["busybox", "sh", steps.EXAMPLE / "image/publish", self.package, name, where]
        done = run(command, PUBLISHED=str(self.published), MESON_EVENTS=str(self.events))
        return done, [json.loads(line) for line in self.events.read_text().splitlines()]

    def test_a_package_is_published_again_and_says_where(self):
        (self.published / ".r-1.partial").mkdir()
        for _ in range(2):
            done, said = self.publish("r-1", '/a "b"\\')
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([path.name for path in self.published.iterdir()], ["r-1"])
        self.assertEqual((self.published / "r-1/a.txt").read_text(), "a")
        self.assertIn({"output": {"folder": '/a "b"\\/r-1'}}, said)
        self.assertIn({"artifact": {"name": "a.txt", "uri": 'file:///a%20"b"\\/r-1/a.txt'}}, said)

    def test_a_package_that_changed_on_its_way_is_not_published(self):
        (self.package / "a.txt").write_text("b")
        done, _ = self.publish("r-1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not what was packed", done.stderr)
        self.assertEqual(list(self.published.iterdir()), [])

    def test_a_file_without_a_checksum_or_a_plain_name_is_refused(self):
        for name, why in [("b.txt", "`b.txt` has no checksum"), ('b".txt', "is no name of a file"), ("axtxt", "no checksum")]:
            (self.package / name).touch()
            done, _ = self.publish("r-1")
            self.assertEqual(done.returncode, 1)
            self.assertIn(why, done.stderr)
            (self.package / name).unlink()
        self.assertEqual(list(self.published.iterdir()), [])

    def test_a_publication_that_was_set_aside_is_not_lost(self):
        (self.published / ".r-1.before").mkdir()
        (self.published / ".r-1.before/a.txt").write_text("before")
        done, _ = self.publish("r-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([path.name for path in self.published.iterdir()], ["r-1"])
        self.assertEqual((self.published / "r-1/a.txt").read_text(), "a")

    def test_a_name_stays_in_its_place(self):
        for name in ("../up", ".", "..", "a/b", ""):
            done, _ = self.publish(name)
            self.assertEqual(done.returncode, 1, name)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["events.jsonl", "package", "published"])


if __name__ == "__main__":
    unittest.main()
