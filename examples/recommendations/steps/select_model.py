"""selectModel: for each region the better of the regional and the global model, by the error on unseen ratings."""

import argparse
import json

import meson_task


def choose(regions, regional, global_by_region):
    """Name of the model for each region, and its error."""
    chosen = {}
    for region, rmse in zip(regions, regional):
        own = rmse is not None and rmse < global_by_region[region]
        chosen[region] = {"model": region if own else "global", "rmse": rmse if own else global_by_region[region]}
    return chosen


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--regions", type=json.loads, required=True)
    arguments.add_argument("--regional", type=json.loads, required=True)
    arguments.add_argument("--global", dest="everywhere", type=json.loads, required=True)
    given = arguments.parse_args()
    chosen = choose(given.regions, given.regional, given.everywhere)
    for region, choice in chosen.items():
        print(f"{region}: {choice['model']}, rmse {choice['rmse']:.4f}")
    meson_task.output(chosen=chosen)


if __name__ == "__main__":
    main()
