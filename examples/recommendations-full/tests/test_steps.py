"""The parts of the Python steps that decide something. Where the portable example does the same, so must this one: that is what
makes their figures comparable."""

import csv
import importlib.util
import re
import sqlite3
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import steps
import biases
import export_tables
import figures
import join_regions
import numpy as np
import packing
import places
import regions
import report
import wrangle

PORTABLE = steps.EXAMPLE.parent / "recommendations/steps"


def portable(name):
    """A module of the portable example, beside the one of the same name here."""
    with mock.patch.object(sys, "path", [*sys.path, str(PORTABLE)]):
        spec = importlib.util.spec_from_file_location(f"portable_{name}", PORTABLE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        # Its classes look for the module that they are of.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module


def made_up(count=400, users=12, movies=30):
    """Users, movies and stars, each pair once, ordered as Hive's rows are when they are read."""
    random = np.random.default_rng(3)
    pairs = np.sort(random.choice(users * movies, min(count, users * movies - 50), replace=False))
    return pairs // movies * 7 + 1, pairs % movies * 3 + 2, random.integers(1, 11, len(pairs)) / 2


class LikeThePortableExample(unittest.TestCase):
    def test_regions(self):
        other = portable("regions")
        self.assertEqual(*([module.region(user) for user in range(700)] for module in (regions, other)))

    def test_what_is_held_out_and_how_it_is_halved(self):
        user = np.repeat(np.arange(30), np.arange(1, 31))[np.random.default_rng(4).permutation(465)]
        other = portable("wrangle")
        self.assertEqual((wrangle.VALIDATION_SHARE, wrangle.SPLIT_SEED), (other.VALIDATION_SHARE, other.SEED))
        np.testing.assert_array_equal(wrangle.held_out(user, 0.2, 5), other.held_out(user, 0.2, 5))
        train = portable("train")
        self.assertEqual(wrangle.HALVES_SEED, train.SEED)
        half = wrangle.halves(101, 7)
        for number, rows in enumerate(train.halves(101, 7), start=1):
            np.testing.assert_array_equal(np.flatnonzero(half == number), rows)

    def test_biases(self):
        users, movies, rating = made_up()
        user, movie = (np.unique(ids, return_inverse=True)[1] for ids in (users, movies))
        own = biases.Biases(user, movie, rating, user.max() + 1, movie.max() + 1)
        factorise = portable("factorise")
        other = factorise.fit_biases(factorise.Ratings(user, movie, rating, user.max() + 1, movie.max() + 1))
        np.testing.assert_allclose(own.user, other["user_bias"])
        np.testing.assert_allclose(own.movie, other["movie_bias"])


class Sets(unittest.TestCase):
    def setUp(self):
        self.users, self.movies, self.rating = made_up()
        self.tables, self.facts = wrangle.sets(self.users, self.movies, self.rating)

    def column(self, place, name):
        head, columns = self.tables[place]
        return columns[head.split(",").index(name)]

    def test_every_rating_is_in_one_set(self):
        pairs = []
        for kind in ("train", "valid"):
            place = places.ratings(kind)
            pairs += zip(*(self.column(place, name).tolist() for name in ("user", "movie", "rating")))
        self.assertEqual(sorted(pairs), sorted(zip(self.users.tolist(), self.movies.tolist(), self.rating.tolist())))
        self.assertEqual((self.facts["train"], self.facts["validation"]), (len(self.column("sets/train.csv", "user")),
                                                                           len(self.column("sets/valid.csv", "user"))))
        self.assertEqual(self.facts["ratings"], len(self.rating))

    def test_the_regions_are_the_whole(self):
        for kind in ("train", "valid"):
            parts = [self.column(places.ratings(kind, name), "user").tolist() for name in self.facts["regions"]]
            self.assertEqual(sorted(sum(parts, [])), sorted(self.column(places.ratings(kind), "user").tolist()))
            for name, users in zip(self.facts["regions"], parts):
                self.assertEqual({regions.region(user) for user in users}, {name})

    def test_rest_and_bias_make_the_rating(self):
        user, movie, rest, rating = (self.column("sets/train.csv", name) for name in ("user", "movie", "rest", "rating"))
        of = {}
        for name in ("users", "movies"):
            ids, bias = (self.tables[places.biases(name)][1][at] for at in (0, -1))
            of[name] = dict(zip(ids.tolist(), bias.tolist()))
        again = [self.facts["mean"] + of["users"][one] + of["movies"][other] for one, other in zip(user, movie)]
        np.testing.assert_allclose(rest + again, rating)

    def test_tables_are_written_as_they_are(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "table.csv")
            wrangle.write(path, *self.tables["sets/valid.csv"])
            with open(path, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        self.assertEqual([float(row["base"]) for row in rows], self.column("sets/valid.csv", "base").tolist())

    def test_rows_are_ordered_whatever_order_hive_gives_them(self):
        with tempfile.TemporaryDirectory() as folder:
            one, other = Path(folder, "one"), Path(folder, "other")
            one.write_text("2,7,3.5\n1,9,1.0\n", encoding="utf-8")
            other.write_text("1,3,5.0\n", encoding="utf-8")
            users, movies, rating = wrangle.read([one, other])
            self.assertEqual((users.tolist(), movies.tolist(), rating.tolist()), ([1, 1, 2], [3, 9, 7], [5.0, 1.0, 3.5]))
            one.write_text("", encoding="utf-8")
            with self.assertRaisesRegex(SystemExit, "lower min_ratings"):
                wrangle.read([one])


class Places(unittest.TestCase):
    def test_only_files_with_data(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("part-1", "part-0", "_SUCCESS", ".part-0.crc"):
                Path(folder, name).touch()
            self.assertEqual([path.name for path in places.data_files(folder)], ["part-0", "part-1"])

    def test_a_place_is_within_the_workspace(self):
        for workspace, uri in [("/w/run", "file:///w/run/a/b"), ("hdfs://n:1/w/", "hdfs://n:1/w/a/b")]:
            with mock.patch.dict("os.environ", {"MESON_WORKSPACE": workspace}):
                self.assertEqual(places.uri("a/b"), uri)


class ExportTables(unittest.TestCase):
    def test_fields_are_parted_by_tabs_and_null_is_hives(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "a b?.sqlite")
            db = sqlite3.connect(source)
            db.execute("CREATE TABLE ratings (user_id INT, movie_id INT, rating REAL, rated_at INT)")
            db.execute("CREATE TABLE movies (movie_id INT PRIMARY KEY, title TEXT, genres TEXT)")
            db.execute("INSERT INTO ratings VALUES (2, 7, 3.5, 11), (1, 7, 4, 12)")
            db.execute("INSERT INTO movies VALUES (7, NULL, 'a|b')")
            db.commit()
            db.close()
            self.assertEqual(export_tables.export(source, Path(folder)), {"ratings": 2, "movies": 1})
            self.assertEqual(Path(folder, "ratings.tsv").read_text(), "1\t7\t4.0\t12\n2\t7\t3.5\t11\n")
            self.assertEqual(Path(folder, "movies.tsv").read_text(), "7\t\\N\ta|b\n")

    def test_what_would_break_a_row_is_refused(self):
        with self.assertRaisesRegex(SystemExit, "tab"):
            export_tables.field("a\tb")


class Figures(unittest.TestCase):
    def test_regions_count_by_their_ratings(self):
        one = {"ratings": 1, "rmse": 4.0, "disagreement": 1.0, "baseline": 9.0}
        other = {"ratings": 3, "rmse": 0.0, "disagreement": 3.0, "baseline": 7.0}
        expected = {"region": "global", "ratings": 4, "rmse": 1.0, "disagreement": 1.0, "baseline": 2.0}
        self.assertEqual(figures.figures("global", [one, other]), expected)

    def test_a_region_without_figures_is_missing(self):
        us = {"rmse": 0.9, "region": "US"}
        self.assertEqual(join_regions.join(["BR", "US"], [None, us]), ({"US": us}, ["BR"]))


class Packing(unittest.TestCase):
    def side(self, factors):
        return packing.Side({9: 0.1, 4: 0.2, 7: 0.3}, factors, 1)

    def test_recommends_the_best_of_what_is_popular_and_new(self):
        users, movies = packing.Side({1: 0.0}, {1: [1.0]}, 1), self.side({9: [5.0], 4: [2.0]})
        self.assertEqual(packing.recommend(users, movies, 1, set(), {4, 7, 9}), [9, 4, 7])
        self.assertEqual(packing.recommend(users, movies, 1, {9}, {4, 9}), [4])

    def test_a_side_is_a_table_by_id(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "movies.csv")
            self.side({7: [0.5]}).write(path, "movie")
            self.assertEqual(path.read_text(), "movie,bias,factor1\n4,0.2,0.0\n7,0.3,0.5\n9,0.1,0.0\n")

    def test_a_cohort_that_changed_is_refused(self):
        self.assertEqual(packing.checked({"users": 2}, {"users": 2, "mean": 3.5}), {"users": 2})
        with self.assertRaisesRegex(SystemExit, "Hive counted 3 users, wrangle 2"):
            packing.checked({"users": 3}, {"users": 2})

    def test_a_package_has_checksums_of_all_files(self):
        with tempfile.TemporaryDirectory() as here:
            folder, archive = Path(here, "package"), Path(here, "package.tar.gz")
            folder.mkdir()
            (folder / "a.txt").write_text("a")
            packing.write_package(folder, archive)
            with tarfile.open(archive) as tar:
                self.assertEqual(tar.getnames(), ["SHA256SUMS", "a.txt"])
                sums = tar.extractfile("SHA256SUMS").read().decode()
        self.assertEqual(sums, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a.txt\n")

    def test_the_report_has_every_pass_and_region(self):
        choice = {"model": "BR", "rmse_global": 0.9, "rmse_regional": 0.8, "ratings": 10}
        line = {"number": 1, "regularisation": 0.06, "rmse": 0.9, "baseline": 1, "disagreement": 0.2}
        text = report.markdown(
            {"run": "r", "passes": 1, "regularisation": 0.06, "rmse": 0.87, "rmse_global": 0.9, "baseline": 1.0}
            | {"cohort": {"users": 1, "movies": 2, "ratings": 3}, "history": [line | {"objections": ["too far"]}]}
            | {"chosen": {"BR": choice}, "examples": {"BR": {"user": 5, "movies": ["A"]}}}
        )
        self.assertIn("| 1 | 0.06 | 0.9000 | 1.0000 | 0.2000 | too far |", text)
        self.assertIn("| BR | BR | 0.9000 | 0.8000 | 10 |", text)


class Workflow(unittest.TestCase):
    def test_the_workflows_name_scripts_that_are_there(self):
        texts = [(steps.EXAMPLE / f"{name}.yaml").read_text(encoding="utf-8") for name in ("workflow", "load")]
        named = set(re.findall(r"steps/([\w.]+)", "".join(texts)))
        scripts = {"create_tables.sql", "select_users.sql", "select_model.scala", "validate_model.scala"}
        scripts |= {"train_region.R", "validate_region.R"}
        scripts |= {path.name for path in steps.FOLDER.glob("*.py") if "def main()" in path.read_text(encoding="utf-8")}
        self.assertEqual(named, scripts)
        for name in scripts:
            self.assertTrue((steps.FOLDER / name).is_file(), name)


if __name__ == "__main__":
    unittest.main()
