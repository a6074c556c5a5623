"""For all tests."""

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def _spare_event_loop():
    """A loop for pytest-asyncio to put aside: where it finds none it makes one and never closes it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
