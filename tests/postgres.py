"""A PostgreSQL server of one's own, reached by a socket in its own folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

USER, DATABASE = "crm", "postgres"


def binaries() -> tuple[str, str] | None:
    """Return the paths of initdb and of the server, ``None`` where the machine has none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", "")])
    initdb, server = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    return (initdb, server) if initdb and server else None


@contextlib.contextmanager
def postgres() -> Iterator[Path]:
    """Run a server while the block lasts; gives the folder of its socket."""
    found = binaries()
    assert found, "PostgreSQL's server is wanted: install the package postgresql"
    initdb, server = found
    # Short: a socket's path has at most 107 bytes. The server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", data, "-U", USER, "-A", "trust", "-N"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    process = subprocess.Popen(
        [server, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        user=user, stderr=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    assert process.stderr
    for line in process.stderr:
        if "ready to accept connections" in line:
            break
    # Read on: a server whose log nobody reads stands still when the pipe is full.
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    try:
        yield folder
    finally:
        process.send_signal(signal.SIGINT)  # does not wait for those who are connected
        process.wait(20)
        drain.wait(20)
        process.stderr.close()
        shutil.rmtree(folder)


def connection(folder: Path) -> dict[str, str]:
    """Return the Airflow connection to the server."""
    return {"conn_type": "postgres", "host": str(folder), "login": USER, "schema": DATABASE}
