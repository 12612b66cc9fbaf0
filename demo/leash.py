"""Run one command which never outlives the process that started it.

``python -m demo.leash COMMAND...`` runs the command and waits for it, or for the end of its own standard
input, whichever comes first; then it stops every process of its session. Whoever holds the other end of
that pipe may exit, crash or be killed: the pipe closes with it, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import psutil

GRACE_S = 5.0


def belongs_to(session: int, process: psutil.Process) -> bool:
    """Tell whether a living process, not this one, is a member of a session."""
    try:
        return (
            process.pid != os.getpid()
            and os.getsid(process.pid) == session
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (ProcessLookupError, PermissionError, psutil.Error):
        return False  # It ended while we looked, or it is somebody else's.


def stop_session(child: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> None:
    """Ask the command to end, and end by force what is still there when the grace is over.

    Airflow puts every task into a process group of its own, so a group is too small a net; a session is not.
    """

    def members() -> list[psutil.Process]:
        child.poll()
        return [process for process in psutil.process_iter() if belongs_to(os.getsid(0), process)]

    if child.poll() is None:
        child.terminate()
    deadline = time.monotonic() + grace_s
    while members() and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in members():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()


def main(command: Sequence[str]) -> int:
    """Run ``command`` until it ends or standard input does; return its exit code."""
    released = threading.Event()

    def wait_for_the_end_of_input() -> None:
        while os.read(0, 1024):
            pass
        released.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: released.set())
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    while child.poll() is None and not released.wait(0.1):
        pass
    stop_session(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
