"""Publishing on any object store: whole objects, in one step each."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_PIECE = 2**20


def is_local(target: ObjectStoragePath) -> bool:
    """Return whether ``target`` is on this machine's own file system."""
    return target.protocol in ("", "file", "local")


def fetch(paths: Sequence[ObjectStoragePath], directory: Path) -> list[Path]:
    """Return local files with the content of ``paths``, in the same order and under the same names.

    On the machine's own file system those are the objects themselves, which are not to be changed.

    :param paths: objects of one store.
    :param directory: a local folder for copies.
    """
    if not paths or is_local(paths[0]):
        return [Path(path.path) for path in paths]
    files = [directory / secrets.token_hex(4) / path.name for path in paths]
    for file in files:
        file.parent.mkdir(parents=True)
    # In one request, which file systems of today carry out concurrently.
    paths[0].fs.get([path.path for path in paths], [str(file) for file in files])
    return files


def publish(file: Path, target: ObjectStoragePath) -> None:
    """Put a finished local file in the place of ``target`` in one step.

    A reader sees the old object or the new one, never a part of it, and a failure leaves the old one. On a
    local path a sibling is renamed; an object store takes one put.

    :param file: the local file; it stays.
    :param target: the object to replace or to make.
    :raises OSError: the store does not take it.
    """
    if not is_local(target):
        target.fs.put_file(str(file), target.path)
        return
    with file.open("rb") as source, _replacing(Path(target.path)) as stream:
        shutil.copyfileobj(source, stream, _PIECE)


def write_whole(content: bytes, place: Path) -> None:
    """Put a small file's content in the place of ``place`` in one step; see :func:`publish`.

    :raises OSError: the disk does not take it.
    """
    with _replacing(place) as stream:
        stream.write(content)


def write_new(content: bytes, place: Path) -> None:
    """Make the small file ``place``, whole and in one step, unless it is there already.

    Of several that try at the same time one succeeds: a sibling is linked to its name, which shows it whole.

    :raises FileExistsError: there is one already; it stands.
    :raises OSError: the disk does not take it.
    """
    sibling = _sibling(place)
    try:
        with _create(sibling) as stream:
            stream.write(content)
            _sync(stream)
        os.link(sibling, place)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Some mounted file systems have no links; there a reader may for a moment see the object empty.
        with place.open("xb") as stream:
            stream.write(content)
    finally:
        sibling.unlink(missing_ok=True)


@contextmanager
def _replacing(place: Path) -> Iterator[BinaryIO]:
    """Open a sibling of ``place`` that takes its place, finished and on disk, unless the block raises."""
    sibling = _sibling(place)
    try:
        with _create(sibling) as stream:
            yield stream
            _sync(stream)
        os.replace(sibling, place)
    finally:
        sibling.unlink(missing_ok=True)


def _create(file: Path) -> BinaryIO:
    """Open a file that is not there yet, in a folder that need not be there either."""
    try:
        return file.open("xb")
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("xb")


def _sibling(place: Path) -> Path:
    # Hidden, and of another pattern than the finished files: what a killed process leaves is read by nobody.
    return place.with_name(f".{place.name}.{secrets.token_hex(4)}")


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
