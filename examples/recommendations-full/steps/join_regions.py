"""regionJoin: the figures of the regional models in one table. A region whose model could not be trained is not in it."""

import argparse
import json

import meson_sdk as meson


def join(regions, figures):
    """Figures by region, and the regions without any."""
    found = {each["region"]: each for each in figures if each}
    return found, [region for region in regions if region not in found]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--regions", type=json.loads, required=True)
    arguments.add_argument("--figures", type=json.loads, required=True, help="null for a region that failed")
    given = arguments.parse_args()
    by_region, missing = join(given.regions, given.figures)
    meson.progress(100, f"no model for {', '.join(missing)}" if missing else f"{len(by_region)} regions")
    meson.output(by_region=by_region, missing=missing)


if __name__ == "__main__":
    main()
