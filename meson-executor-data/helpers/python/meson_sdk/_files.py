"""Files between a step and its run's storage, or any other storage that the executor's machine reaches."""

import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Optional, Union

from ._facts import workspace
from ._json import plain

_Path = Union[str, "os.PathLike[str]"]


def download(uri: str, path: _Path) -> None:
    """Copies a file or directory from a file://, hdfs:// or s3:// URI, or a path within the workspace, to this machine."""
    place = _place(uri)
    if place is None:
        _fs("get", uri, os.fspath(path))
    else:
        _copy(place, Path(path))


def upload(path: _Path, uri: str) -> None:
    """Copies a file or directory of this machine to a file://, hdfs:// or s3:// URI, or a path within the workspace."""
    place = _place(uri)
    if place is None:
        _fs("put", os.fspath(path), uri)
    else:
        _copy(Path(path), place)


def _place(uri: str) -> Optional[Path]:
    """Where a URI is on this machine; None when it is elsewhere."""
    if not isinstance(uri, str):
        raise TypeError(f"the URI is {uri!r}, not text")
    plain(uri, "the URI")
    if not uri:
        raise ValueError("the URI is empty")
    if ".." in uri.split("/"):
        raise ValueError(f"`{uri}`: .. leads out of its place")
    if uri.startswith("file:///"):
        return Path(uri[len("file://") :])
    if "://" in uri:
        return None
    if uri.startswith("/"):
        raise ValueError(f"`{uri}` begins with a slash, so it is not within the workspace; write file://{uri}")
    base = workspace()
    return None if "://" in base else Path(base, uri)


def _fs(*arguments: str) -> None:
    program = os.environ.get("MESON_FS")
    if not program:
        raise OSError(f"MESON_FS is not set: `{' '.join(arguments)}` works in steps of Meson that are no containers")
    done = subprocess.run([program, "fs", *arguments], stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise OSError(said or f"{' '.join(arguments)} ended with status {done.returncode}")


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all: under another name until all of it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".meson-{uuid.uuid4().hex}.part"
    try:
        if source.is_dir():
            shutil.copytree(source, part)
        else:
            shutil.copyfile(source, part)
        os.replace(part, target)
    except BaseException:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        elif part.exists():
            part.unlink()
        raise
