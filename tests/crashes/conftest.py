from collections.abc import Iterator

import pytest

from tests.crashes.mortal import Mortal, mortal


@pytest.fixture(scope="package")
def site() -> Iterator[Mortal]:
    """One site for all stories: a story that needs it in service says `up`, whatever the one before left."""
    with mortal() as made:
        yield made
