"""Child processes with a log file each, started and stopped together; ports; what a signal does."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
MOST = 65_535  # of ports

Answer = TypeVar("Answer")


class DemoError(Exception):
    """Something a person has to know; its text is the whole message."""


class Children:
    """Start commands which log to ``logs/<name>.log`` and end with this process, however it ends."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a command in a session of its own, its output in a fresh log file."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "demo.leash", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=dict(environment),
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """Return the log file of a command."""
        return self.logs / f"{name}.log"

    def has_ended(self, name: str) -> bool:
        """Return whether a command was started and has ended by itself."""
        return name in self._running and self._running[name].poll() is not None

    def check(self) -> None:
        """Raise when a command has ended, with the end of its log."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise DemoError(
                    f"{name} ended with exit code {process.returncode}. The end of {self.log(name)}:\n"
                    f"{tail(self.log(name))}"
                )

    def end(self, name: str) -> None:
        """Stop one command, and wait until it is gone."""
        process = self._running.pop(name)
        if process.stdin is not None:
            process.stdin.close()
        process.wait()

    def stop(self) -> None:
        """Stop all commands at once, and wait until each is gone; a second Ctrl-C does not interrupt it."""
        with undisturbed():
            for process in self._running.values():
                if process.stdin is not None:
                    process.stdin.close()
            for process in self._running.values():
                process.wait()  # The leash gives its command a grace and then kills it: this ends.
            self._running.clear()

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log file."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def wait_until(
    question: Callable[[], Answer | None], what: str, deadline_s: float, every_s: float = 0.25
) -> Answer:
    """Ask until the answer is true, and return it; raise :class:`DemoError` after ``deadline_s`` seconds."""
    end = time.monotonic() + deadline_s
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise DemoError(f"waited {deadline_s:.0f} s for {what}, in vain")
        time.sleep(every_s)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True


def choose_port(wanted: int, purpose: str, setting: str) -> int:
    """Return ``wanted`` if it is free, any free port for 0; raise a plain message otherwise."""
    if wanted:
        if not 0 < wanted <= MOST:
            raise DemoError(f"{setting}={wanted} is no port: name one of 1 to {MOST}, or 0 for any free one.")
        if not port_is_free(wanted):
            raise DemoError(
                f"Port {wanted} for {purpose} is taken by another process: "
                f"stop that one, or name another with {setting}={wanted + 1} ({setting}=0: any free one)."
            )
        return wanted
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


def terminate_like_interrupt() -> None:
    """Make SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that what it started is stopped.

    Ctrl-C itself is set too: a shell which runs a script in the background has it ignored.
    """

    def unwind(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGHUP, unwind)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold off Ctrl-C and its like; only the main thread can, elsewhere there is nothing to hold off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
