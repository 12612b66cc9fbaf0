"""Room on the local disk while a task works."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "journey-scratch-"
_LOCK = ".lock"


@contextmanager
def local_folder() -> Iterator[Path]:
    """Give a folder below the system's temporary one, which is gone afterwards.

    A process that is killed leaves its folder; the next one on the machine that wants one removes it: a lock
    tells whether its owner lives.

    :raises OSError: there is no room for it.
    """
    _sweep()
    temporary = tempfile.TemporaryDirectory(prefix=_PREFIX)
    folder = Path(temporary.name)
    unheld = folder / f"{_LOCK}.new"
    # The lock is let go of when the folder is gone.
    with unheld.open("wb") as lock, temporary:
        with suppress(OSError):  # a disk without locks: then nobody finds it
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Named when it is held: nobody finds it before.
            unheld.rename(folder / _LOCK)
        yield folder


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # It fails where the folder is held, another user's, without a lock yet, or gone.
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a :func:`local_folder` to somebody who fails with nothing but local disks.

    :raises OSError: the disk does not take what is written; the message names the folder, which neither the
        system's own words nor the engine's do.
    """
    import duckdb

    with local_folder() as folder:
        try:
            yield folder
        except duckdb.IOException as error:
            raise OSError(f"The local disk failed below {folder}: {error}") from error
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, f"{error.strerror}, on the local disk below", str(folder)) from error
