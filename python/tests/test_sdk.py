"""The helper against real files, as the executor reads them."""

import contextlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))
import meson_sdk as meson  # noqa: E402


def shout(number):
    for _ in range(200):
        meson.message(str(number) * 500)


class Said(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.events = Path(folder.name, "events")
        self.params = Path(folder.name, "params.json")
        self.params.write_text('{"regions": ["US", "BR"]}')
        variables = {"MESON_EVENTS": str(self.events), "MESON_PARAMS": str(self.params)}
        patch = mock.patch.dict(os.environ, variables)
        patch.start()
        self.addCleanup(patch.stop)
        meson.params.cache_clear()

    def said(self):
        return [json.loads(line) for line in self.events.read_text().splitlines()]

    def test_each_call_is_a_line(self):
        meson.progress(40, "fold 3 of 5")
        meson.message("line\nbreak é")
        meson.output({"a": 1}, b=[2])
        meson.artifact("model", "s3://m")
        meson.data(loss=0.5)
        self.assertEqual(self.said(), [
            {"percent": 40.0, "message": "fold 3 of 5"},
            {"message": "line\nbreak é"},
            {"output": {"a": 1, "b": [2]}},
            {"artifact": {"name": "model", "uri": "s3://m"}},
            {"data": {"loss": 0.5}},
        ])

    def test_what_is_wrong_is_refused_and_not_said(self):
        class Odd:
            pass

        calls = [
            lambda: meson.progress(101),
            lambda: meson.progress(float("nan")),
            lambda: meson.output(a=float("inf")),
            lambda: meson.output(a=Odd()),
            lambda: meson.output(a="x" * meson.OUTPUT_BYTES_MAX),
            lambda: meson.data(a="x" * meson.DATA_BYTES_MAX),
            lambda: meson.artifact("", "s3://m"),
            lambda: list(meson.track(iter([1]))),
        ]
        for call in calls:
            with self.assertRaises(ValueError):
                call()
        self.assertFalse(self.events.exists())

    def test_numbers_of_other_libraries_are_plain(self):
        class Scalar:
            def item(self):
                return 7

        meson.output(a=Scalar())
        self.assertEqual(self.said(), [{"output": {"a": 7}}])

    def test_processes_speak_at_once(self):
        with multiprocessing.Pool(4) as pool:
            pool.map(shout, range(4))
        texts = [event["message"] for event in self.said()]
        self.assertEqual(sorted(set(texts)), [str(number) * 500 for number in range(4)])
        self.assertEqual(len(texts), 800)

    def test_tracking_gives_all_items(self):
        with mock.patch.object(meson, "TRACK_SECONDS", 0):
            self.assertEqual(list(meson.track([5, 6])), [5, 6])
        self.assertEqual(self.said(), [{"percent": 50.0}, {"percent": 100.0}])

    def test_params(self):
        self.assertEqual(meson.params(), {"regions": ["US", "BR"]})

    def test_without_meson_it_is_printed(self):
        del os.environ["MESON_EVENTS"]
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            meson.progress(1)
        self.assertEqual(printed.getvalue(), 'meson: {"percent":1.0}\n')


if __name__ == "__main__":
    unittest.main()
