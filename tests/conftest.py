"""No test depends on the clock: a slow machine is not a failure."""

import pytest
from hypothesis import settings

settings.register_profile("leelight", deadline=None)
settings.load_profile("leelight")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest file first: taken last, it would end the run on one core alone."""
    items.sort(key=lambda item: "system" not in item.path.parts)
