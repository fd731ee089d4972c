"""Tests of meson_sdk on real files. What each call says is tests/sdk/cases.json; here is the rest."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

import meson_sdk as meson
from meson_sdk import _say

FOLDER = str(Path(meson.__file__).parent.parent)


class Scalar:
    """Looks like a numpy scalar."""

    shape = ()

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


class Array(Scalar):
    """Looks like a numpy array of one element."""

    shape = (1,)

    def tolist(self):
        return [self.value]


class Under(unittest.TestCase):
    """A test under Meson: events go to a file of its own, and nothing has been said."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.events = self.folder / "events.jsonl"
        environment = mock.patch.dict(os.environ, {"MESON_EVENTS": str(self.events)})
        environment.start()
        self.addCleanup(environment.stop)
        _say._output_bytes.clear()
        _say._artifacts.clear()

    def said(self):
        """All that was said so far."""
        return [json.loads(line) for line in self.events.read_text("utf-8").splitlines()] if self.events.exists() else []


class Files(Under):
    def setUp(self):
        super().setUp()
        self.workspace = self.folder / "w"
        environment = mock.patch.dict(os.environ, {"MESON_WORKSPACE": str(self.workspace)})
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop("MESON_FS", None)

    def test_files_and_directories_go_through_a_workspace_that_is_a_directory(self):
        source = self.folder / "source"
        (source / "sub").mkdir(parents=True)
        (source / "sub/x y").write_text("one")
        meson.upload(source / "sub/x y", "deep/%2e%2e/it's")
        meson.download("deep/%2e%2e/it's", self.folder / "back/file")
        self.assertEqual((self.folder / "back/file").read_text(), "one")
        meson.upload(source, "all")
        meson.download("all", self.folder / "all")
        self.assertEqual((self.folder / "all/sub/x y").read_text(), "one")
        meson.upload(source / "sub/x y", f"file://{self.folder}/elsewhere")
        self.assertEqual((self.folder / "elsewhere").read_text(), "one")

    def test_what_fails_leaves_nothing_and_is_named(self):
        with self.assertRaises(FileNotFoundError):
            meson.upload(self.folder / "missing", "x")
        self.assertEqual(list(self.workspace.iterdir()), [])
        with self.assertRaisesRegex(OSError, "MESON_FS is not set"):
            meson.download("hdfs://nn/x", "x")
        program = self.folder / "fs"
        program.write_text('#!/bin/sh\necho "no: $*" >&2; exit 75\n')
        program.chmod(0o755)
        with mock.patch.dict(os.environ, {"MESON_FS": str(program), "MESON_WORKSPACE": "hdfs://nn/w"}):
            with self.assertRaisesRegex(OSError, "no: fs get a b c"):
                meson.download("a b", "c")


class Values(Under):
    def test_scalars_of_numpy_need_no_numpy(self):
        meson.output(loss=Scalar(0.5), counts=[Scalar(1), Scalar(True)])
        meson.progress(Scalar(12.5))
        self.assertEqual(self.said(), [{"output": {"loss": 0.5, "counts": [1, True]}}, {"percent": 12.5}])
        with self.assertRaisesRegex(TypeError, r"output 'a' is of type Array, which is not JSON; use \.tolist\(\)"):
            meson.output("a", Array(1))

    def test_what_json_cannot_say_is_refused_and_not_written(self):
        circle = []
        circle.append(circle)
        for value, error in [
            (float("nan"), "which JSON cannot say"),
            ({"a": [Scalar(float("inf"))]}, r"output 'x'\['a'\]\[0\] is inf"),
            (2**64, "64 bits"),
            ({1: 2}, "keys are text"),
            ({"\ud800": 1}, "not valid Unicode"),
            ("\ud800", "not valid Unicode"),
            ({1, 2}, "type set"),
            (circle, "nested deeper"),
        ]:
            with self.subTest(value=repr(value)), self.assertRaisesRegex((TypeError, ValueError), error):
                meson.output("x", value)
        self.assertEqual(self.said(), [])

    def test_names_and_percents_are_checked(self):
        for wrong, error in [
            (lambda: meson.output(), "a name and a value"),
            (lambda: meson.output("a"), "a name and a value"),
            (lambda: meson.output(5, 5), "not text"),
            (lambda: meson.progress(True), "not a number"),
            (lambda: meson.progress("5"), "not a number"),
            (lambda: meson.progress(float("nan")), "nan"),
        ]:
            with self.assertRaisesRegex((TypeError, ValueError), error):
                wrong()
        meson.output(name="n", value=2**64 - 1)
        self.assertEqual(self.said(), [{"output": {"name": "n", "value": 2**64 - 1}}])

    def test_outputs_have_the_executors_limit_to_the_byte(self):
        # {"a":"…"} has 8 bytes beside the text.
        meson.output("a", "y" * (_say.OUTPUT_BYTES_MAX - 8))
        with self.assertRaisesRegex(ValueError, "65537 bytes"):
            meson.output("a", "y" * (_say.OUTPUT_BYTES_MAX - 7))
        with self.assertRaisesRegex(ValueError, "in all"):
            meson.output("b", 1)
        self.assertEqual(len(self.said()), 1)

    def test_artifacts_have_a_limit_and_paths_become_uris(self):
        for number in range(_say.ARTIFACTS_MAX):
            meson.artifact(f"a{number}", "s3://x")
        meson.artifact("a0", self.folder / "ä file")
        with self.assertRaisesRegex(ValueError, "more than 1000"):
            meson.artifact("b", "s3://x")
        self.assertEqual(self.said()[-1]["artifact"]["uri"], (self.folder.resolve() / "ä file").as_uri())

    def test_a_message_never_fails_a_step(self):
        meson.message("\ud800")
        meson.message(5)
        self.assertEqual(self.said(), [{"message": "?"}, {"message": "5"}])


class Facts(Under):
    def test_params_are_read_once(self):
        path = self.folder / "params.json"
        path.write_text('{"regions": ["US", "é"]}', "utf-8")
        with mock.patch.dict(os.environ, {"MESON_PARAMS": str(path)}):
            first = meson.params()
            path.unlink()
            self.assertIs(meson.params(), first)
        self.assertEqual(first["regions"], ["US", "é"])
        with self.assertRaises(TypeError):
            first["new"] = 1

    def test_broken_params_say_so(self):
        path = self.folder / "params.json"
        path.write_text("[]")
        with mock.patch.dict(os.environ, {"MESON_PARAMS": str(path)}), self.assertRaisesRegex(ValueError, "no JSON object"):
            meson.params()

    def test_outside_meson_calls_print_and_facts_are_none(self):
        heard = io.StringIO()
        with mock.patch.dict(os.environ, clear=True), contextlib.redirect_stderr(heard):
            meson.progress(5, "é")
            meson.output("a", [1])
            facts = [meson.run_id(), meson.workflow(), meson.step(), meson.attempt(), meson.attempt_id(), meson.fence()]
            self.assertEqual((dict(meson.params()), meson.workspace()), ({}, os.getcwd()))
            with self.assertRaises(ValueError):
                meson.progress(101)
        self.assertEqual(facts, [None] * 6)
        expected = 'meson (dry run): {"percent":5,"message":"é"}\nmeson (dry run): {"output":{"a":[1]}}\n'
        self.assertEqual(heard.getvalue(), expected)
        self.assertFalse(self.events.exists())


class Track(Under):
    def percents(self):
        return [line["percent"] for line in self.said()]

    def test_all_items_and_their_progress(self):
        self.assertEqual(list(meson.track("abcd", every_s=0)), list("abcd"))
        self.assertEqual(self.percents(), [25, 50, 75, 100])

    def test_it_is_throttled(self):
        with mock.patch("time.monotonic", side_effect=[0, 0.4, 0.9, 1.1, 1.5, 2.0]):
            list(meson.track(range(5)))
        self.assertEqual(self.percents(), [60, 100])

    def test_a_part_of_the_step_and_a_total_that_was_a_guess(self):
        self.assertEqual(list(meson.track(iter("abc"), 2, span=(10, 50), every_s=0)), list("abc"))
        self.assertEqual(self.percents(), [30, 50])

    def test_an_abandoned_loop_is_not_complete(self):
        for item in meson.track(range(10), every_s=0):
            if item == 2:
                break
        self.assertEqual(self.percents(), [10, 20])

    def test_wrong_calls_fail_at_once(self):
        with self.assertRaisesRegex(TypeError, "total"):
            meson.track(iter("abc"))
        with self.assertRaisesRegex(ValueError, "span"):
            meson.track("abc", span=(50, 110))


WRITER = """
import sys
import meson_sdk as meson
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    meson.data(who=sys.argv[1], number=number, padding=sys.argv[1] * (number * 137 % 15000))
"""


class AtOnce(Under):
    PROCESSES, LINES = 8, 150

    def test_lines_of_many_processes_do_not_mix(self):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(who), str(self.LINES)],
                stdin=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": FOLDER},
            )
            for who in range(self.PROCESSES)
        ]
        for writer in writers:
            writer.stdin.write(b"\n")
            writer.stdin.close()
        self.assertEqual([writer.wait() for writer in writers], [0] * self.PROCESSES)
        numbers = {str(who): [] for who in range(self.PROCESSES)}
        for line in self.said():
            data = line["data"]
            self.assertEqual(data["padding"], data["who"] * (data["number"] * 137 % 15000))
            numbers[data["who"]].append(data["number"])
        self.assertEqual(list(numbers.values()), [list(range(self.LINES))] * self.PROCESSES)

    def test_threads_share_the_limit_of_outputs(self):
        refused = []

        def speak(name):
            try:
                meson.output(name, "y" * 10_000)
            except ValueError:
                refused.append(name)

        threads = [threading.Thread(target=speak, args=(f"o{number}",)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(self.said()), len(refused)), (6, 14))


if __name__ == "__main__":
    unittest.main()
