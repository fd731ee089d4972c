"""What a step's own code says to Meson, and what Meson tells it.

    import meson_sdk as meson

    regions = meson.params()["regions"]
    for region in meson.track(regions):
        train(region)
    meson.output("trained", len(regions))
    meson.artifact("model", Path("model.bin"))

A call appends one line of JSON to the file $MESON_EVENTS. Where that variable is not set, the code does not run under
Meson: the line is then printed on standard error, and nothing else changes.
"""

from ._facts import attempt, attempt_id, fence, params, run_id, step, workflow, workspace
from ._files import download, upload
from ._say import artifact, data, message, output, progress
from ._track import track

__all__ = [
    "artifact",
    "attempt",
    "attempt_id",
    "data",
    "download",
    "fence",
    "message",
    "output",
    "params",
    "progress",
    "run_id",
    "step",
    "track",
    "upload",
    "workflow",
    "workspace",
]
