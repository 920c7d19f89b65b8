"""When Python looks for garbage in cycles: of nearly all there is, we know better."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# As many new Python objects as a few hundred documents have.
MANY_OBJECTS = 10_000
# As many, some megabytes, wait for a search while the loop runs.
NEW_OBJECTS = 50_000


@contextmanager
def no_collection() -> Iterator[None]:
    """Let Python look for no garbage meanwhile, nor afterwards in what was made."""
    # What loading makes stays, and going through all of it again and again takes as long as making it.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > MANY_OBJECTS:
            # Both together only move all objects to the oldest generation.
            gc.freeze()
            gc.unfreeze()
        if was_on:
            gc.enable()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for garbage every few dozen passes instead of in each."""
    # A pass makes a dozen mappings as large as the site. Nearly all are gone by themselves soon; a collection that
    # meets them goes through all of their entries, a third of the time of a pass after one changed file.
    young, *old = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS, *old)
    try:
        yield
    finally:
        gc.set_threshold(young, *old)
