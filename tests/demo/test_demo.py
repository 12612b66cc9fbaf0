"""``make demo`` as a person meets it: twice in a row, interrupted, with a taken port, with an old Python."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from demo import environment
from demo.processes import ROOT, wait_until

pytestmark = pytest.mark.xdist_group("demo")


def command(module, folder, *arguments):
    return [sys.executable, "-m", module, f"--folder={folder}", *arguments]


def run(module, folder, *arguments):
    return subprocess.run(command(module, folder, *arguments), cwd=ROOT, capture_output=True, text=True)


def started_in(folder):
    """The processes that belong to a demo: Airflow's have it in their environment, the others in their words."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            home = process.environ().get("AIRFLOW_HOME", "")
            if home.startswith(str(folder)) or str(folder) in " ".join(process.cmdline()):
                found.append(process.cmdline())
    return found


def figures(output, name):
    """Both numbers of a line in the table of syncs."""
    [line] = re.findall(rf"^{name}  .*$", output, re.MULTILINE)
    return [float(figure.replace(",", "")) for figure in line.split()[-2:]]


def test_twice_in_a_row_nights_and_syncs_are_done_and_shown(tmp_path):
    for again in range(2):
        done = run("demo.nightly", tmp_path, "--nights=2")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"2/2 .* success .* 1 calls", done.stdout)
        assert "5 partitions; 2 calls of the API in 2 nights" in done.stdout
        assert "nWebActionsQualified" in done.stdout
        assert str(tmp_path / "lake") in done.stdout
        assert ("beginning with a fresh ledger" in done.stdout) == bool(again)
        assert "12,000 calls a minute; Genesys Cloud allows 300" in done.stdout
        assert figures(done.stdout, "rows") == [1000, 1000]
        assert figures(done.stdout, "unchanged") == [0, 980]
        # Who changes the segment is assigned one and loses the other by the same call.
        assert figures(done.stdout, "calls") == [1000, 20]
        assert min(figures(done.stdout, "seconds")) > 0
        assert started_in(tmp_path) == []
    assert len(list((tmp_path / "lake" / "journey_aggregates").glob("dt=*/part-0.parquet"))) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_nothing_it_started_is_left(tmp_path, number):
    log = tmp_path / "output.txt"
    with log.open("w") as output:
        demo = subprocess.Popen(command("demo.nightly", tmp_path / "demo"), cwd=ROOT, stdout=output)
    wait_until(
        lambda: len(started_in(tmp_path / "demo")) > 2 or demo.poll() is not None,
        "the first of Airflow's parts",
        60,
    )
    assert demo.poll() is None
    demo.send_signal(number)
    codes = {signal.SIGINT: 130, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGKILL: -signal.SIGKILL}
    assert demo.wait(60) == codes[number]
    # Killed, it cannot wait for the others: they end behind it.
    wait_until(
        lambda: not started_in(tmp_path / "demo"),
        "everything to end",
        30 if number == signal.SIGKILL else 0.5,
    )


@pytest.mark.parametrize(
    ("module", "option", "setting"),
    [("demo.ui", "--port", "PORT"), ("demo.nightly", "--emulator-port", "EMULATOR_PORT")],
)
def test_a_taken_port_is_named(tmp_path, module, option, setting):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(module, tmp_path, f"{option}={port}")
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert f"{setting}={port + 1}" in done.stderr
    assert "Traceback" not in done.stderr
    assert started_in(tmp_path) == []


@pytest.mark.parametrize("number", [-1, 65_536])
def test_what_is_no_port_is_named(tmp_path, number):
    done = run("demo.nightly", tmp_path, f"--emulator-port={number}")
    assert done.returncode == 1
    assert f"EMULATOR_PORT={number} is no port" in done.stderr
    assert started_in(tmp_path) == []


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"Python 3\.9 .* is too old: the project needs 3\.10"):
        environment.check_python()


def test_a_missing_venv_module_is_named(monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        environment.check_python()
