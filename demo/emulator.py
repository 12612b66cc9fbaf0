"""The emulated Journey API as a process of the demo."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from demo.processes import Children, choose_port, wait_until

READY_S = 60.0
# Genesys Cloud's 300 would make a sync of a thousand contacts last more than three minutes.
CALLS_PER_MINUTE = 12_000


def start_emulator(children: Children, environment: Mapping[str, str], port: int = 0) -> dict[str, Any]:
    """Start the emulator on 127.0.0.1 and return what it says of itself once it answers.

    :param port: 0 for a free one.
    """
    chosen = choose_port(port, "the emulator", "EMULATOR_PORT")
    options = ["--port", str(chosen), "--rate-limit", str(CALLS_PER_MINUTE)]
    command = [sys.executable, "-m", "airflow_provider_journey.emulator", *options]
    children.start("emulator", command, environment)

    def ready() -> dict[str, Any] | None:
        children.check()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{chosen}/emulator", timeout=5) as answer:
                about: dict[str, Any] = json.load(answer)
                return about
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    return wait_until(ready, "the emulator to answer", READY_S)
