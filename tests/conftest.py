"""No test depends on the clock: a slow machine is not a failure."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

# Properties are tried on more examples by `make long`, with the other profile.
settings.register_profile("leelight", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.load_profile("leelight")


@pytest.fixture(scope="session", autouse=True)
def _prices(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """Prices of the same plans are worked out once for all tests, not once for each home and process of the tests."""
    from federation.privacy.accounting import FIGURES

    folder = tmp_path_factory.getbasetemp()
    FIGURES.keep_in((folder.parent if worker_id != "master" else folder) / "prices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FIGURES, "keep_in", lambda _: None)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest file first: taken last, it would end the run on one core alone."""
    items.sort(key=lambda item: "system" not in item.path.parts)
