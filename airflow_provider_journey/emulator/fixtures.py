"""A pytest plugin: ``journey_emulator`` gives every test an emulator of its own on a free port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_journey.emulator.local import LocalEmulator
from airflow_provider_journey.emulator.options import Options

_SMALL: dict[str, Any] = {"port": 0, "contacts": 100, "events": 9000, "rate_limit": 100_000}


@pytest.fixture
def start_journey_emulator() -> Iterator[Callable[..., LocalEmulator]]:
    """Start emulators that stop when the test ends.

    The function takes the fields of :class:`~airflow_provider_journey.emulator.options.Options`; unless told
    otherwise an emulator is small, unhurried by a rate limit, and on a free port.
    """
    with ExitStack() as running:

        def start(**options: Any) -> LocalEmulator:
            return running.enter_context(LocalEmulator(Options(**_SMALL | options)))

        yield start


@pytest.fixture
def journey_emulator(start_journey_emulator: Callable[..., LocalEmulator]) -> LocalEmulator:
    """Start one emulator with fresh state."""
    return start_journey_emulator()
