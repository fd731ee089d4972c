"""publish: puts the chosen models and a report where others find them."""

import argparse
import json
import shutil
from pathlib import Path

import meson_task
from train_names import halves


def report(figures):
    """The report, for people."""
    lines = [
        "# Recommendations model",
        "",
        f"Run {figures['run']}; stable after {figures['passes']} passes, with regularisation "
        f"{figures['regularisation']}.",
        "",
        f"Error on unseen ratings: {figures['rmse']:.4f} stars (root mean square); biases alone reach "
        f"{figures['baseline']:.4f}. Models of two random halves of the data disagree by "
        f"{figures['disagreement']:.4f}.",
        "",
        "| region | model | error |",
        "|---|---|---|",
    ]
    for region, choice in sorted(figures["chosen"].items()):
        lines.append(f"| {region} | {choice['model']} | {choice['rmse']:.4f} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--to", type=Path, required=True)
    arguments.add_argument("--figures", type=json.loads, required=True)
    given = arguments.parse_args()
    figures, folder = given.figures, meson_task.workspace()
    target = given.to / figures["run"]
    names = sorted({choice["model"] for choice in figures["chosen"].values()} | {"global"})
    for place, name in enumerate(names):
        source = halves(folder, figures["passes"], "" if name == "global" else name)[0]
        path = target / f"model-{name}.npz"
        meson_task.write_atomically(path, lambda partial, source=source: shutil.copyfile(source, partial))
        meson_task.artifact(f"model-{name}", path)
        meson_task.progress(100 * (place + 1) / (len(names) + 1), f"model {name} published")
    meson_task.write_atomically(target / "report.md", lambda path: path.write_text(report(figures)))
    meson_task.write_atomically(target / "report.json", lambda path: path.write_text(json.dumps(figures, indent=2)))
    meson_task.artifact("report", target / "report.md")
    meson_task.artifact("figures", target / "report.json")
    print(report(figures))
    meson_task.output(report=str(target / "report.md"), models=names)


if __name__ == "__main__":
    main()
