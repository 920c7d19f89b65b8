"""`rayops suspend`, `resume`, `drain`, `undrain`, `stop`, `rerun`, `approve`: edit YAML and commit it.

Git stays the only control surface: these verbs change a file of a work tree, with everything around it kept, and
commit that; what happens next is decided by whoever merges and pushes it.
"""

import re
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.names import JOB, POOL, SITE, Wanted, wanted
from reconciler.cli.text import clean
from reconciler.cli.worktree import WorkTree
from reconciler.model.desired import Loaded

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Edit:
    """An edited file: the object it is about, its new bytes, and what the commit says."""

    loaded: Loaded
    content: bytes
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """One verb that edits and commits. `declare` adds its own arguments; `edit` makes the edit."""

    EXAMPLES: str
    declare: Callable[[ArgumentParser], None]
    edit: Callable[[Call, WorkTree], Edit]

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        self.declare(parser)
        parser.add_argument("--repo", type=Path, default=Path(), metavar="DIR", help="the work tree (this folder)")
        parser.add_argument("--dry-run", action="store_true", help="print the patch and change nothing")
        parser.add_argument("-m", "--message", default="", help="the commit's message")

    def run(self, call: Call) -> Exit:
        """Edit the file and commit it, or print the patch."""
        from reconciler.desired.yaml import Refused

        tree = WorkTree.read(call.options.repo, call.around.clock)
        try:
            edit = self.edit(call, tree)
        except Refused as why:
            raise Ended(Exit.USAGE, f"the file cannot be edited: {why}") from why
        path = edit.loaded.path
        tree.check(path, edit.content)
        if not call.options.dry_run:
            tree.require_committed(path)
        if edit.content == tree.files[path]:
            call.screen.note(f"{edit.loaded.id}: {path} says so already")
            return Exit.DONE
        if call.options.dry_run:
            call.screen.raw(tree.patch(path, edit.content))
            return Exit.DONE
        message = call.options.message or edit.message
        tree.commit(path, edit.content, message)
        call.screen.line(clean(f"{path}: committed: {message}"))
        call.screen.note("push it (or merge it) to let it happen")
        return Exit.DONE


def _object(parser: ArgumentParser) -> None:
    parser.add_argument("object", metavar="OBJECT", help="such as job/team/name, pool/name or cluster/name")


def _job_object(parser: ArgumentParser) -> None:
    parser.add_argument("object", metavar="JOB", help="job/team/name, team/name or name")


def _named(call: Call, tree: WorkTree) -> Loaded:
    return tree.find(wanted(call.options.object))


def _job(call: Call, tree: WorkTree) -> Loaded:
    return tree.find(wanted(call.options.object, kind=JOB))


def _suspend(call: Call, tree: WorkTree) -> Edit:
    from reconciler.desired.edit import set_field

    loaded = _named(call, tree)
    return Edit(loaded, set_field(tree.files[loaded.path], ("spec", "suspend"), value=True), f"Suspend {loaded.id}")


def _resume(call: Call, tree: WorkTree) -> Edit:
    from reconciler.desired.edit import remove_field

    loaded = _named(call, tree)
    content = tree.files[loaded.path]
    if loaded.document.spec.suspend:
        content = remove_field(content, ("spec", "suspend"))
    return Edit(loaded, content, f"Resume {loaded.id}")


def _stop(call: Call, tree: WorkTree) -> Edit:
    from reconciler.desired.edit import set_field

    loaded = _job(call, tree)
    return Edit(loaded, set_field(tree.files[loaded.path], ("spec", "stop"), value=True), f"Stop {loaded.id}")


def _rerun(call: Call, tree: WorkTree) -> Edit:
    """Count `rerun` up; a job that was stopped is let go again."""
    from reconciler.desired.edit import remove_field, set_field

    loaded = _job(call, tree)
    content = set_field(tree.files[loaded.path], ("spec", "rerun"), loaded.document.spec.rerun + 1)
    if loaded.document.spec.stop:
        content = remove_field(content, ("spec", "stop"))
    return Edit(loaded, content, f"Run {loaded.id} again")


def _node(parser: ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the node's name")
    parser.add_argument("--pool", default="", help="its pool, when several have a node of this name")


def _drain_arguments(parser: ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("--after", default="", metavar="LENGTH", help="stop its jobs after 30m, 2h (never)")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; people read it in the status")


def _pool(call: Call, tree: WorkTree) -> Loaded:
    """Return the pool that has the node."""
    node, pool = call.options.node, call.options.pool
    pools = [each for who, each in sorted(tree.desired.objects.items()) if who.kind == POOL]
    found = [each for each in pools if pool in {"", each.id.name} and _has(each, node)]
    if not found:
        where = f"pool {pool} has no" if pool else "no pool has a"
        raise tree.missing(f"{node}: {where} node of this name in {tree.root}")
    if len(found) > 1:
        names = ", ".join(each.id.name for each in found)
        raise Ended(Exit.USAGE, f"{node}: pools {names} have a node of this name; choose one with --pool")
    return found[0]


def _has(pool: Loaded, node: str) -> bool:
    return any(each.name == node for each in pool.document.spec.nodes)


def _drain(call: Call, tree: WorkTree) -> Edit:
    """Add an entry, or bring the one that is there up to what is asked for."""
    from reconciler.desired.edit import add_entry, set_field

    node = call.options.node
    loaded = _pool(call, tree)
    content = tree.files[loaded.path]
    given = {"after": call.options.after, "reason": call.options.reason}
    entry = {name: value for name, value in given.items() if value}
    places = [place for place, drain in enumerate(loaded.document.spec.drain) if drain.node == node]
    if not places:
        content = add_entry(content, ("spec", "drain"), {"node": node, **entry})
    for name, value in entry.items() if places else ():
        content = set_field(content, ("spec", "drain", places[0], name), value)
    return Edit(loaded, content, f"Drain {node}")


def _undrain(call: Call, tree: WorkTree) -> Edit:
    from reconciler.desired.edit import remove_field

    node = call.options.node
    loaded = _pool(call, tree)
    content = tree.files[loaded.path]
    # From the last on, so that the places before it stay what they are.
    for place, drain in reversed(list(enumerate(loaded.document.spec.drain))):
        if drain.node == node:
            content = remove_field(content, ("spec", "drain", place))
    return Edit(loaded, content, f"Put {node} back into service")


def _approve_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("digest", metavar="DIGEST", help="of the held plan, 64 hexadecimal digits")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why it may pass")


def _approve(call: Call, tree: WorkTree) -> Edit:
    from reconciler.desired.edit import add_entry

    digest = call.options.digest
    if not _DIGEST.fullmatch(digest):
        raise Ended(
            Exit.USAGE, "the digest has 64 hexadecimal digits; `rayops plan` and `rayops describe site` show it"
        )
    loaded = tree.find(Wanted(SITE, "", "site"))
    if any(each.plan == digest for each in loaded.document.spec.approvals):
        return Edit(loaded, tree.files[loaded.path], "")
    entry = {"plan": digest, "reason": call.options.reason}
    content = add_entry(tree.files[loaded.path], ("spec", "approvals"), entry)
    return Edit(loaded, content, f"Approve held plan {digest[:12]}")


SUSPEND = Change("  rayops suspend pool/h20\n", _object, _suspend)
RESUME = Change("  rayops resume pool/h20\n", _object, _resume)
STOP = Change("  rayops stop job/rl/ppo\n", _job_object, _stop)
RERUN = Change("  rayops rerun job/rl/ppo --dry-run\n", _job_object, _rerun)
DRAIN = Change("  rayops drain h20-02 --after 2h --reason 'ECC errors'\n", _drain_arguments, _drain)
UNDRAIN = Change("  rayops undrain h20-02\n", _node, _undrain)
APPROVE = Change("  rayops approve DIGEST --reason 'the old pool goes'\n", _approve_arguments, _approve)
