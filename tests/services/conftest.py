"""Real servers, one for all tests of a module."""

import pytest

from tests.postgres import postgres


@pytest.fixture(scope="module")
def warehouse():
    """The folder of a PostgreSQL server's socket."""
    with postgres() as folder:
        yield folder
