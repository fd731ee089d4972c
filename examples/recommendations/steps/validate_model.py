"""validateModel: is what was selected fit to be published? It has to err less than biases alone, and models of two
random halves of the data have to agree within a bound. Fails when the last pass allowed is not stable either."""

import argparse
import json

import layout
import meson_task


def objections(rmse, baseline, disagreement, bound):
    """What speaks against publishing; nothing when the model is stable. Figures that are no numbers are objections."""
    found = []
    if not rmse < baseline:
        found.append(f"rmse {rmse:.4f} is not below the {baseline:.4f} of biases alone")
    if not disagreement <= bound:
        found.append(f"the models of two halves are {disagreement:.4f} stars apart, more than {bound}")
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--pass", dest="number", type=int, required=True)
    arguments.add_argument("--max-passes", type=int, required=True)
    for name in ("rmse", "baseline", "disagreement", "bound", "regularisation"):
        arguments.add_argument(f"--{name}", type=float, required=True)
    given = arguments.parse_args()

    found = objections(given.rmse, given.baseline, given.disagreement, given.bound)
    record = {name: value for name, value in vars(given).items() if name != "max_passes"}
    record |= {"stable": not found, "objections": found}
    path = layout.verdict(meson_task.workspace(), given.number)
    meson_task.write_atomically(path, lambda partial: partial.write_text(json.dumps(record), encoding="utf-8"))
    summary = "; ".join(found) or "stable"
    meson_task.progress(100, summary)
    if found and given.number >= given.max_passes:
        raise SystemExit(f"not stable after {given.number} passes: {summary}")
    meson_task.output(stable=not found, objections=found)


if __name__ == "__main__":
    main()
