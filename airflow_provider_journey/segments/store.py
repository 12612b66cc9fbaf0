"""The folder on an object store in which a ledger lives."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.segments.errors import StoreError
from airflow_provider_journey.storage.objects import fetch, is_local, publish, write_new, write_whole

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


class Store:
    """Objects below one path: put whole, made exclusively, listed, fetched.

    :param root: the folder.
    :param single_writer: nobody else writes here at the same time, so a store that cannot make an object only
        where there is none is good enough.
    """

    def __init__(self, root: ObjectStoragePath, *, single_writer: bool = False) -> None:
        self.root = root
        self.single_writer = single_writer
        # Where it is this machine's own: a plain path is made in a moment, which an ObjectStoragePath is not.
        self._folder = Path(root.path) if is_local(root) else None
        self._proven = False

    def __str__(self) -> str:
        return str(self.root)

    @classmethod
    def at(cls, path: ObjectStoragePath | str, *, single_writer: bool = False) -> Store:
        """Open the folder ``path``, a path or URL that Airflow's object storage knows."""
        from airflow.sdk import ObjectStoragePath

        root = ObjectStoragePath(path)
        _ = root.fs  # Airflow 3.1 looks for the file system at first use; a wrong URL is to be said here
        return cls(root, single_writer=single_writer)

    def put(self, file: Path, name: str) -> None:
        """Put a finished local file under ``name``, in one step, in the place of what is there.

        :raises OSError: the store does not take it.
        """
        publish(file, self.root / name)

    def put_bytes(self, name: str, content: bytes) -> None:
        """Put a small object under ``name``, in one step, in the place of what is there.

        :raises OSError: the store does not take it.
        """
        if self._folder is not None:
            write_whole(content, self._folder / name)
        else:
            target = self.root / name
            target.fs.pipe_file(target.path, content)

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Put a small JSON object under ``name``, in the place of what is there."""
        self.put_bytes(name, _encoded(content))

    def create_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Make the small JSON object ``name`` unless it is there already.

        :raises FileExistsError: it is there; it stands.
        :raises StoreError: the store overwrites where it should refuse, and ``single_writer`` is not set.
        """
        if self._folder is not None:
            write_new(_encoded(content), self._folder / name)
        elif not self.single_writer:
            self._prove()
            _create(_encoded(content), self.root / name)
        elif self.exists(name):
            raise FileExistsError(str(self.root / name))
        else:
            self.put_json(name, content)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of each object that lies directly in ``folder``, by name, in order.

        A folder that does not exist has none. Names that begin with a dot are nobody's.
        """
        return {entry: size for entry, kind, size in self._entries(folder) if kind == "file"}

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders that lie directly in ``folder``, in order."""
        return [entry for entry, kind, _ in self._entries(folder) if kind == "directory"]

    def exists(self, name: str) -> bool:
        """Return whether there is an object ``name``."""
        path = self.root / name
        path.fs.invalidate_cache()
        return bool(path.fs.exists(path.path))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the JSON object ``name``.

        :raises FileNotFoundError: there is none.
        :raises StoreError: it is no JSON object.
        """
        path = self.root / name
        try:
            content = json.loads(path.fs.cat_file(path.path))
        except ValueError as error:
            raise StoreError(f"{path} is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise StoreError(f"{path} holds no JSON object")
        return content

    def fetch(self, names: Sequence[str], directory: Path) -> list[Path]:
        """Return local files with the content of the objects ``names``, in the same order.

        On the machine's own file system those are the objects themselves, which are not to be changed.

        :param directory: a local folder for copies.
        """
        return fetch([self.root / name for name in names], directory)

    def delete(self, name: str) -> None:
        """Delete the object or folder ``name`` and all below it; nothing there is no error."""
        path = self.root / name
        with contextlib.suppress(FileNotFoundError):
            path.fs.rm(path.path, recursive=True)

    def _entries(self, folder: str) -> list[tuple[str, str, int]]:
        path = self.root / folder
        # What others wrote is the point: no listing from memory.
        path.fs.invalidate_cache()
        try:
            found = path.fs.ls(path.path, detail=True)
        except FileNotFoundError:
            return []
        entries = [
            (str(entry["name"]).rstrip("/").rpartition("/")[2], entry["type"], int(entry["size"] or 0))
            for entry in found
        ]
        return sorted(entry for entry in entries if not entry[0].startswith("."))

    def _prove(self) -> None:
        """Find out once whether the store refuses to make what is there already."""
        if self._proven:
            return
        probe = self.root / f".probe-{secrets.token_hex(8)}"
        try:
            _create(b"{}", probe)
            _create(b"{}", probe)
        except FileExistsError:
            self._proven = True
        except (ValueError, NotImplementedError):
            pass  # the store does not know the mode
        finally:
            self.delete(probe.name)
        if not self._proven:
            raise StoreError(
                f"{self} cannot make an object only where there is none, so two runs at the same time could "
                "overwrite each other's ledger. single_writer=True allows it."
            )


def _create(content: bytes, target: ObjectStoragePath) -> None:
    """Make an object of a store by one put that is conditional on there being nothing."""
    with target.fs.open(target.path, "xb") as stream:
        stream.write(content)


def _encoded(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"
