"""The report on a model, for people: Markdown from the figures."""


def _table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def _stars(value):
    return "–" if value is None else f"{value:.4f}"


def markdown(figures):
    """The report."""
    cohort = figures["cohort"]
    lines = [
        "# Recommendations model",
        "",
        f"Run `{figures['run']}`: {cohort['users']} users, {cohort['movies']} movies, {cohort['ratings']} ratings.",
        f"Stable at pass {figures['passes']}, with regularisation {figures['regularisation']:g}. The global model "
        f"errs by {_stars(figures['rmse_global'])} stars (root mean square, ratings not seen in training), what was "
        f"selected by {_stars(figures['rmse'])}, biases alone by {_stars(figures['baseline'])}.",
        "",
        "## Passes",
        "",
    ]
    titles = ("pass", "regularisation", "rmse", "biases alone", "halves apart", "verdict")
    lines += _table(titles, [_pass_row(each) for each in figures["history"]])
    lines += ["", "## Regions", ""]
    titles = ("region", "model", "rmse global", "rmse regional", "validation ratings")
    lines += _table(titles, [_region_row(*each) for each in sorted(figures["chosen"].items())])
    lines += ["", "## Examples", "", "What the busiest user of each region has not rated and would like best.", ""]
    for region, example in sorted(figures["examples"].items()):
        lines.append(f"- {region}, user {example['user']}: {'; '.join(example['movies'])}")
    return "\n".join(lines) + "\n"


def _pass_row(each):
    verdict = "; ".join(each["objections"]) or "stable"
    figures = [_stars(each[name]) for name in ("rmse", "baseline", "disagreement")]
    return each["number"], f"{each['regularisation']:g}", *figures, verdict


def _region_row(region, choice):
    errors = _stars(choice["rmse_global"]), _stars(choice["rmse_regional"])
    return region, choice["model"], *errors, choice["ratings"]
