"""Make a virtual environment, install the project into it when that is not up to date, and run in it.

``python demo/environment.py [--venv .venv] [--with EXTRA,EXTRA] [--requirements FILE] -- ARGUMENTS`` ends as
``.venv/bin/python ARGUMENTS``. It uses the standard library alone, and is written so that a Python too old
for the project can still read it and say so.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time

OLDEST = (3, 10)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def check_python() -> None:
    """Exit with a plain message when this Python cannot carry the project."""
    if sys.version_info[:2] < OLDEST:
        sys.exit(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable}) is too old: "
            f"the project needs {OLDEST[0]}.{OLDEST[1]} or newer. "
            "Name another one, for instance: make demo PYTHON=python3.12"
        )
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        sys.exit(
            f"Python's venv module is missing ({sys.executable}). On Debian and Ubuntu: "
            "apt-get install python3-venv. Or name another Python: make demo PYTHON=python3.12"
        )


def fingerprint(requirements: str) -> str:
    """Return a text that changes whenever what has to be installed does."""
    digest = hashlib.sha256()
    files = [os.path.join(ROOT, "pyproject.toml")] + ([requirements] if requirements else [])
    for path in files:
        with open(path, "rb") as file:
            digest.update(file.read())
    return f"{sys.version_info[0]}.{sys.version_info[1]} {ROOT} {digest.hexdigest()}"


def installed(stamp: str, state: str) -> "set[str] | None":
    """Return the extras which a stamp file says are installed in this state of the project, or ``None``."""
    try:
        with open(stamp) as file:
            first, second = file.read().split("\n")[:2]
    except (OSError, ValueError):
        return None
    return set(second.split(",")) - {""} if first == state else None


def run(command: "list[str]", log: str, what: str) -> None:
    """Run a command with its output in a log file; on failure print the end of it and exit."""
    with open(log, "ab") as file:
        code = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    if code:
        with open(log, errors="replace") as file:
            lines = file.read().splitlines()
        sys.exit("\n".join([f"{what} failed (whole log: {log}):", *lines[-20:]]))


def prepare(folder: str, extras: "set[str]", requirements: str) -> str:
    """Make the environment hold the project with at least ``extras``; return its Python."""
    python = os.path.join(folder, "bin", "python")
    stamp = os.path.join(folder, "installed.txt")
    state = fingerprint(requirements)
    present = installed(stamp, state)
    if present is not None and extras <= present and os.path.exists(python):
        return python
    started = time.time()
    if present is None and os.path.isdir(folder):
        shutil.rmtree(folder)
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, "install.log")
    wanted = extras | (present or set())
    print(f"Installing into {folder} (about a minute; log: {log}) ...", flush=True)
    if not os.path.exists(python):
        run([sys.executable, "-m", "venv", folder], log, "making the virtual environment")
    target = f"{ROOT}[{','.join(sorted(wanted))}]" if wanted else ROOT
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--editable", target]
    run(command + (["--requirement", requirements] if requirements else []), log, "pip install")
    with open(stamp, "w") as file:
        file.write(f"{state}\n{','.join(sorted(wanted))}\n")
    print(f"Installed in {time.time() - started:.0f} s.", flush=True)
    return python


def main() -> None:
    """Read the command line, prepare the environment and become the wanted command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--venv", default=".venv")
    parser.add_argument("--with", dest="extras", default="", metavar="EXTRA,EXTRA")
    parser.add_argument("--requirements", default="")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    check_python()
    requirements = os.path.join(ROOT, given.requirements) if given.requirements else ""
    extras = set(given.extras.split(",")) - {""}
    python = prepare(os.path.join(ROOT, given.venv), extras, requirements)
    arguments = given.arguments[1:] if given.arguments[:1] == ["--"] else given.arguments
    if arguments:
        sys.stdout.flush()
        os.execv(python, [python, *arguments])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
