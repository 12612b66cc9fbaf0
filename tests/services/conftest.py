"""Real servers, one for all tests of a module."""

import pytest

from tests.postgres import running_postgres


@pytest.fixture(scope="module")
def warehouse():
    """The folder of a PostgreSQL server's socket."""
    with running_postgres() as folder:
        yield folder
