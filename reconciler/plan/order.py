"""The order of a plan: remove from the top down, then create from the bottom up."""

from collections.abc import Iterable

from reconciler.model.json import canonical
from reconciler.model.plan import Action, Weight, effect_document

_LAYER = {"Site": 0, "User": 1, "Team": 2, "Cluster": 3, "NodePool": 4, "Job": 5}


def in_order(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Return actions in the one order that does not depend on how they were found."""
    return tuple(sorted(actions, key=_key))


def _key(action: Action) -> tuple[int, int, str, str, bytes]:
    layer = _LAYER.get(action.target.kind, len(_LAYER))
    removes = action.weight is not Weight.NONE
    place = -layer if removes else layer
    target = action.target
    return (0 if removes else 1, place, str(target), action.verb, canonical(effect_document(action.effect)))
