"""What is true of every plan: checked before any of it is carried out."""

from operator import attrgetter

from reconciler.model.effect import SubmitAttempt
from reconciler.model.plan import Plan

_TEXT = attrgetter("because.text")


def lint(plan: Plan) -> None:
    """Stop the pass if the plan breaks a rule of the house: it is a bug then, and nothing of it is done."""
    targets = [action.pace for action in plan.actions]
    assert len(targets) == len(set(targets)), "two actions on one target in one plan"
    assert all(targets), "an action without a target to pace it"
    nodes = [
        (action.effect.head.cluster, node)
        for action in plan.actions
        if isinstance(action.effect, SubmitAttempt)
        for node in action.effect.nodes
    ]
    assert len(nodes) == len(set(nodes)), "two attempts placed on one node"
    for action in plan.actions:
        assert action.because.text, f"{action.verb} of {action.target} without a reason"
    assert all(map(_TEXT, plan.holds)), "a hold without a reason"
