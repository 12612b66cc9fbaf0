"""Room on the local disk while a task works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder below the system's temporary one, which is gone afterwards.

    :raises OSError: the disk does not take what is written; the message names the folder, which neither the
        system's own words nor the engine's do.
    """
    import duckdb

    with TemporaryDirectory(prefix="journey-") as folder:
        try:
            yield Path(folder)
        except duckdb.IOException as error:
            raise OSError(f"The local disk failed below {folder}: {error}") from error
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, f"{error.strerror}, on the local disk below", folder) from error
