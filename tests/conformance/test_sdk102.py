"""The official SDK 102 against the emulator: an outside judge of whether the contract is kept.

Its virtual environment is made below the project's root on the first run and kept.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_journey.emulator.options import ClientSpec

SCRIPT = Path(__file__).with_name("sdk102.py")
HOME = Path(__file__).parents[2] / ".venvs" / "sdk102"
REQUIREMENTS = ["purecloudplatformclientv2==102.0.0", "urllib3<2"]
OPERATIONS = {
    "getJourneyActiontarget",
    "getJourneyActiontargets",
    "patchJourneyActiontarget",
    "getJourneyCustomerCustomerIdSegments",
    "getJourneyExternalcontactSegments",
    "getJourneySessionSegments",
    "postJourneyExternalcontactSegments",
    "postAnalyticsJourneysAggregatesQuery",
}


@pytest.fixture(scope="module")
def sdk_python() -> Path:
    stamp, python = HOME / "requirements.txt", HOME / "bin" / "python"
    wanted = "\n".join([*REQUIREMENTS, sys.version])
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(HOME, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    return python


def test_the_official_sdk_performs_all_eight_operations(start_journey_emulator, sdk_python):
    few = ClientSpec("few", "secret", ("journey:actiontarget:view",))
    emulator = start_journey_emulator(events=30_000, clients=(few,))
    emulator.reset_calls()
    run = subprocess.run([sdk_python, SCRIPT, emulator.base_url], capture_output=True, text=True, timeout=300)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    passed = set(re.findall(r"^ok +(\w+)$", run.stdout, re.MULTILINE))
    assert passed == set(re.findall(r"^@check\ndef (\w+)", SCRIPT.read_text(), re.MULTILINE))
    served = {
        operation for operation, statuses in emulator.calls().items() if statuses.keys() & {"200", "204"}
    }
    assert served == OPERATIONS | {"token"}
