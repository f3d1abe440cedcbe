"""Keys are made once: making one takes longer than most tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.federation.deployment.stands import make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of an authority and of a server on this machine."""
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of another authority."""
    return make_keys(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="session")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys whose server certificate held until yesterday; their authority holds."""
    return make_keys(tmp_path_factory.mktemp("expired"), now=datetime.now(UTC) - timedelta(days=2), days=1)
