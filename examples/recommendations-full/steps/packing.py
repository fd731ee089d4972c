"""What is published, apart from where it comes from: the models as tables that anybody can read, examples of what they
recommend, and a package with checksums."""

import csv
import hashlib
import tarfile

import numpy as np

EXAMPLES_EACH = 5


def checked(cohort, wrangled):
    """The cohort as Hive counted it, which has to be what the steps worked on."""
    for name, count in cohort.items():
        if wrangled[name] != count:
            raise SystemExit(f"Hive counted {count} {name}, wrangle {wrangled[name]}: the table has changed meanwhile")
    return cohort


class Side:
    """Users or movies with their biases and factors, in the order of their ids."""

    def __init__(self, biases, factors, rank):
        self.ids = sorted(biases)
        self.place = {each: place for place, each in enumerate(self.ids)}
        self.bias = np.array([biases[each] for each in self.ids])
        self.factors = np.zeros((len(self.ids), rank))
        for each, values in factors.items():
            self.factors[self.place[each]] = values

    def write(self, path, name):
        """As a table: id, bias, factors."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow([name, "bias", *(f"factor{number}" for number in range(1, self.factors.shape[1] + 1))])
            for each, bias, factors in zip(self.ids, self.bias, self.factors):
                out.writerow([each, float(bias), *factors.tolist()])


def recommend(users, movies, user, seen, popular):
    """The movies that a user would like best, among the popular ones not yet seen. The mean and the user's own bias are the
    same for all of them."""
    score = movies.bias + movies.factors @ users.factors[users.place[user]]
    best = [movies.ids[place] for place in np.argsort(-score, kind="stable")]
    return [movie for movie in best if movie in popular and movie not in seen][:EXAMPLES_EACH]


def write_package(folder, archive):
    """Adds checksums to a folder and packs it."""
    files = sorted(path for path in folder.iterdir())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
