"""One running orchestrator per test that asks for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.orchestrator.served import Served, serving


@pytest.fixture
async def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """The orchestrator on a free port, without workers."""
    async with serving(tmp_path, monkeypatch) as served:
        yield served
