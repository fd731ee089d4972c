"""Where `train.py` puts its models."""


def halves(folder, number, region):
    """Paths of the model of all the data and of the models of its two halves."""
    stem = f"pass{number}-{region or 'global'}"
    return [folder / "models" / f"{stem}-{name}.npz" for name in ("full", "half11", "half23")]
