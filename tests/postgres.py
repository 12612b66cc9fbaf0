"""A PostgreSQL server of one's own, from the machine's package."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from demo.processes import tail, wait_until

USER, DATABASE = "crm", "postgres"


def binaries() -> tuple[str, str] | None:
    """Return the paths of initdb and of the server, ``None`` where the machine has none."""
    initdb, server = (shutil.which(name, path=_path()) for name in ("initdb", "postgres"))
    return (initdb, server) if initdb and server else None


@contextlib.contextmanager
def running_postgres(
    user: str = USER, *, port: int = 0, password: str = "", database: str = DATABASE
) -> Iterator[Path]:
    """Run a server until the block ends, and hand out the folder of its socket.

    With a port it listens on 127.0.0.1 as well. With a password it asks everybody for it, else it trusts.
    """
    found = binaries()
    assert found, "PostgreSQL's server is wanted: install the package postgresql"
    initdb, server = found
    # Short: a socket's path has at most 107 bytes. The server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    owner = "nobody" if os.geteuid() == 0 else None
    if owner:
        os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)  # Only the owner can look into the folder.
    known = ["-A", "scram-sha-256", f"--pwfile={secret}"] if password else ["-A", "trust"]
    subprocess.run(
        [initdb, "-D", folder / "data", "-U", user, "-N", *known],
        check=True, user=owner, stdout=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    listen = ["-c", "listen_addresses=127.0.0.1", "-p", str(port)] if port else ["-c", "listen_addresses="]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [server, "-D", folder / "data", "-k", folder, "-c", "fsync=off", *listen],
            user=owner, stderr=output, cwd=folder,
        )  # fmt: skip
    try:
        wait_until(lambda: _ready(process, log), "PostgreSQL to accept connections", 60)
        if database != "postgres":
            login = ["-h", str(folder), "-p", str(port or 5432), "-U", user]
            _create(database, login, {**os.environ, "PATH": _path(), "PGPASSWORD": password})
        yield folder
    finally:
        process.send_signal(signal.SIGINT)  # Without waiting for those who are still connected.
        process.wait(20)
        shutil.rmtree(folder)


def _ready(process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, tail(log)
    return "ready to accept connections" in log.read_text()


def _create(database: str, login: list[str], environment: Mapping[str, str]) -> None:
    subprocess.run(["createdb", *login, database], env=environment, check=True)


def _path() -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])


def connection(folder: Path) -> dict[str, str]:
    """Return the Airflow connection to a server that trusts everybody."""
    return {"conn_type": "postgres", "host": str(folder), "login": USER, "schema": DATABASE}
