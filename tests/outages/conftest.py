"""What all stories share: one site, and that it is well after each of them."""

from collections.abc import Iterator

import pytest

from tests.outages.scene import Scene, scene


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture
def site(shared: Scene) -> Iterator[Scene]:
    shared.is_well()
    yield shared
    shared.is_well()
