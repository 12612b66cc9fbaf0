"""One Airflow with a scheduler for all tests in here: starting it takes a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.processes import ROOT
from tests.scheduling import Platform, running_platform


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    files = sorted((ROOT / "tests" / "dags" / "files").glob("*.py"))
    with running_platform(tmp_path_factory.mktemp("platform"), *files) as running:
        yield running
