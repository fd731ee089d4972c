"""validateModel: is the model fit to be published? It must beat what biases alone reach, and models trained on two random
halves of the data must agree: their predictions may differ by at most the given bound, root mean square, in stars."""

import argparse

import meson_task


def verdict(rmse, baseline, disagreement, bound):
    """Reasons against publishing; none when the model is stable."""
    reasons = []
    if not rmse < baseline:
        reasons.append(f"rmse {rmse:.4f} is not below the {baseline:.4f} of biases alone")
    if not disagreement <= bound:
        reasons.append(f"the halves disagree by {disagreement:.4f} stars, more than {bound}")
    return reasons


def main():
    arguments = argparse.ArgumentParser()
    for name in ("rmse", "baseline", "disagreement", "bound"):
        arguments.add_argument(f"--{name}", type=float, required=True)
    given = arguments.parse_args()
    reasons = verdict(given.rmse, given.baseline, given.disagreement, given.bound)
    print("stable" if not reasons else "unstable: " + "; ".join(reasons))
    meson_task.progress(100, "stable" if not reasons else "unstable: " + "; ".join(reasons))
    meson_task.output(stable=not reasons, reasons=reasons)


if __name__ == "__main__":
    main()
