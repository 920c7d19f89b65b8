"""Documents that the loader lets pass, in a living site."""

import json
from collections.abc import Iterator
from dataclasses import replace

from reconciler.desired.check import Checks
from reconciler.desired.parse import parse
from reconciler.model.desired import Loaded
from reconciler.model.world import World
from tests.fuzz.scene import WATCHED, living, pass_over, stages
from tests.fuzz.target import Target
from tests.fuzz.targets.yaml import template


def check_document(data: bytes) -> None:
    """Put a document in the place of the one with its name, and let passes go over the site."""
    found = parse("x.yaml", data)
    if isinstance(found, Loaded):
        for number, world in enumerate(stages(_with(found))):
            pass_over(world, tell=number == 0)


def _with(found: Loaded) -> World:
    world = living()
    objects = {**world.desired.objects, found.id: found}
    problems = Checks().update(objects, set(objects))
    return replace(world, desired=replace(world.desired, objects=objects, problems=problems))


def documents() -> Iterator[bytes]:
    """Give the documents of the site, and with all that the template says."""
    for each in living().desired.objects.values():
        yield each.document.model_dump_json(by_alias=True, exclude_defaults=True, indent=1).encode()
        yield json.dumps(json.loads(each.document.model_dump_json(by_alias=True, exclude_none=True))).encode()
    yield from template()


TARGETS = (
    Target(
        "documents",
        "a document that is accepted stops no pass, and machines take what follows from it",
        check_document,
        documents,
        watched=WATCHED,
    ),
)
