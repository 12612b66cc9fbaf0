"""Official SDKs, each in a virtual environment of its own below the project's root, made once and kept."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def official_sdk():
    """Return a function that runs a script by an interpreter with an SDK, and checks that every check passed."""

    def judge(script: Path, requirements: list[str], base_url: str) -> None:
        python = environment(ROOT / ".venvs" / script.stem.partition("_")[0], requirements)
        run = subprocess.run([python, script, base_url], capture_output=True, text=True, timeout=300)
        print(run.stdout)
        assert run.returncode == 0, run.stdout + run.stderr
        passed = set(re.findall(r"^ok +(\w+)$", run.stdout, re.MULTILINE))
        assert passed == set(re.findall(r"^@check\ndef (\w+)", script.read_text(), re.MULTILINE))

    return judge


def environment(home: Path, requirements: list[str]) -> Path:
    stamp, python = home / "requirements.txt", home / "bin" / "python"
    wanted = "\n".join([*requirements, sys.version])
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        stamp.write_text(wanted)
    return python
