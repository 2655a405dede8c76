import os
from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """A Prefect server for all tests of the session, started in half a minute unless one is running."""
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    with prefect_test_harness(server_startup_timeout=180):
        yield
