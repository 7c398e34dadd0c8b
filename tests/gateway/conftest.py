"""A Prefect server is named, so that the gateway starts; each test gives it one in memory, or a real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.context import refresh_global_settings_context


@pytest.fixture(scope="module")
def prefect_named() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
        refresh_global_settings_context()
        yield
    refresh_global_settings_context()
