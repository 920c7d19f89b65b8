"""What people agreed to, as far as the daemon was given it: what is in force, what left, what may be stopped.

It follows the revisions that the source hands out, and judges them by its own reading of the promises: a broken
file keeps what was last good, a mass needs an approval that names exactly that, and none is stopped by mistake.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from reconciler.model.job import StopCause
from reconciler.model.ledger import Attempt, Ledger
from reconciler.model.moment import Moment
from reconciler.model.plan import Held
from reconciler.model.snapshot import Snapshot
from tests.fakes.job_runner import Run
from tests.simulator.broken import Broken
from tests.simulator.grounds import BRAKES, Grounds
from tests.simulator.people import Said, Wish

if TYPE_CHECKING:
    from tests.simulator.world import World

Key = tuple[int, int]
# Why a stop weighs nothing: nobody wants it, somebody named the job, or its time is over.
NAMED = frozenset({"", "asked", "limit"})
LIMITS = frozenset({StopCause.START_LIMIT, StopCause.ATTEMPT_LIMIT, StopCause.TOTAL_LIMIT})


def key_of(run: Run) -> Key:
    """Return which job and version an attempt runs."""
    uid, _, version = str(run.task["argv"][4]).partition(".")
    return int(uid), int(version)


def _key_of(wish: Wish) -> str:
    return f"Job/{wish.team}/{wish.name}"


class Agreed:
    """Follows what is in force in one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.revision = ""
        # The last one that could be read as a whole: hearing it again changes nothing, unless something waits.
        self._heard: Snapshot | None = None
        # By uid: what is in force; what left and waits for a brake or a broken file; what left and may go.
        self.force: dict[int, Wish] = {}
        self.waiting: dict[int, Wish] = {}
        self.gone: set[int] = set()
        # Of these an upgrade has forgotten what was last good, and no file has said it since.
        self._forgotten: set[int] = set()
        self._is_upgraded = False
        # By team and name: what was in force under it last.
        self._last: dict[tuple[str, str], Wish] = {}
        # By team and name: what was ever written down while a file described it.
        self._written: set[tuple[str, str]] = set()
        # Teams in which a broken file may describe anything.
        self.unsettled: frozenset[str] = frozenset()
        # When a job last became another one: edited, or back after it was let go.
        self.changed: dict[int, float] = {}
        # By submission id: what it was to run, and which of them were asked to stop for a reason.
        self.intents: dict[str, Wish] = {}
        self.condemned: set[str] = set()
        self._stops: set[tuple[str, Moment]] = set()
        self._grounds = Grounds(world)
        # By digest: what a brake held, by uid, and under which name.
        self._offered: dict[str, Mapping[int, str]] = {}
        self._approvals: tuple[str, ...] = ()

    # What is in force.

    def served(self, snapshot: Snapshot) -> None:
        """Hear that the daemon was given a revision."""
        if snapshot is self._heard and self._world.source.whole and not self.waiting:
            return
        self._heard = snapshot if self._world.source.whole else None
        if self._is_upgraded:
            self._forgotten, self._is_upgraded = {*self.force, *self.waiting}, False
        said = self._world.people.said.get(snapshot.revision)
        if said is None:
            if self.revision:
                raise Broken("I35", "a history that does not contain what was applied was taken in")
            return
        self.revision = snapshot.revision
        self.unsettled = frozenset(self._unsettled(said))
        for uid, wish in said.jobs.items():
            if self._is_plain(said, wish):
                self._adopt(wish)
            elif uid in self.waiting and uid not in said.doubled:
                # A broken file is there again in the place of what left.
                self.force[uid] = self.waiting.pop(uid)
        for uid in [uid for uid in self.force if uid not in said.jobs]:
            self.waiting[uid] = self.force.pop(uid)
        self._grounds.served(said)
        self._approvals = said.approvals
        self._weigh()

    def forget(self) -> None:
        """Hear that the daemon was upgraded: it knows of the files only what they say when it reads them next."""
        self._heard, self._is_upgraded = None, True

    def _is_plain(self, said: Said, wish: Wish) -> bool:
        return self._is_readable(wish) and wish.uid not in said.doubled

    def _is_readable(self, wish: Wish) -> bool:
        return not wish.broken and not self._world.source.hides(wish.document())

    def _unsettled(self, said: Said) -> Iterator[str]:
        for uid, wish in said.jobs.items():
            is_known = (uid in self.force or uid in self.waiting) and uid not in self._forgotten
            last = self.force.get(uid) if is_known else None
            fresh = last is None or last.path != wish.path or uid in said.doubled
            # Two files of which none is in force: either may be another object's by rights.
            in_two_minds = uid in said.doubled and last is None
            if fresh and (in_two_minds or not self._is_readable(wish)):
                yield wish.team

    def _adopt(self, wish: Wish) -> None:
        uid = wish.uid
        before = self.force.get(uid) or self.waiting.get(uid)
        if uid in self.gone or (before is not None and before.key != wish.key):
            self.changed[uid] = self._world.seconds
        self.gone.discard(uid)
        self._forgotten.discard(uid)
        self.waiting.pop(uid, None)
        self.force[uid] = self._last[wish.team, wish.name] = wish

    # Brakes.

    def offered(self, held: tuple[Held, ...]) -> None:
        """Hear what a brake holds, and under which digest."""
        self._grounds.offered(held)
        for each in held:
            if each.digest not in self._offered:
                names = [tuple(what.split("/")[1:]) for what in each.what if what.lower().startswith("job/")]
                uids = {self._world.people.named[team, name]: name for team, name in names}
                self._offered[each.digest] = uids

    def _weigh(self) -> None:
        """Let what left go, if it is little enough or approved; what a broken file may be goes later."""
        known = self._known()
        weight = {uid for uid in {*self.waiting, *self._out_of_place()} if uid in known}
        ledger = self._ledger
        share = len(ledger.known) * BRAKES["maxRemovalPercent"] // 100 if ledger is not None else 0
        if len(weight) > max(BRAKES["maxRemovals"], share) and not self._is_approved(weight):
            return
        for uid in [uid for uid, wish in self.waiting.items() if wish.team not in self.unsettled]:
            del self.waiting[uid]
            self.gone.add(uid)

    def _out_of_place(self) -> Iterator[int]:
        """Yield what is in force under its old name, while what its new file says cannot be read."""
        now = self._world.people.said[self.revision].jobs
        yield from (uid for uid, wish in self.force.items() if uid in now and now[uid].path != wish.path)

    def _known(self) -> set[int]:
        """Return the jobs that the daemon remembers: it cannot weigh what it never knew."""
        if not self.waiting or self._ledger is None:
            return set()
        keys = [key.split("/") for key in self._ledger.known if key.startswith("Job/")]
        return {self._world.people.named[team, name] for _, team, name in keys}

    def _is_approved(self, uids: set[int]) -> bool:
        return any(self._left_of(self._offered.get(digest, {})) == uids for digest in self._approvals)

    def _left_of(self, named: Mapping[int, str]) -> set[int]:
        """Return what has left of what an approval names; an old name only has left when its job has a new one."""
        return {uid for uid, name in named.items() if uid not in self.force or self.force[uid].name == name}

    @property
    def _ledger(self) -> Ledger | None:
        return self._world.daemon.ledger if self._world.daemon is not None else None

    # Stops.

    def may_stop(self, run: Run) -> bool:
        """Say whether anybody meant this attempt to end."""
        return run.submission_id in self.condemned or bool(self._why(key_of(run), run.nodes))

    def broken_by_stopping(self, submission_id: str) -> str:
        """I5, I6, I13, I32, I34, I37: return what is broken when an attempt is stopped that nobody meant to end."""
        began = self.intents.get(submission_id)
        if began is None:
            return "I5"
        now = self._world.people.said[self.revision].jobs.get(began.uid)
        is_hidden = self._world.source.unreadable.startswith(f"teams/{began.team}/")
        if is_hidden or began.team in self.unsettled or (now is not None and not self._is_readable(now)):
            return "I32"
        if began.uid in self.waiting:
            return "I34"
        run = self._world.machines.runners.of(submission_id)
        if run is not None and self._grounds.are_drained(run.nodes):
            return "I34" if self._grounds.are_held(run.nodes) else "I13"
        if now is None or now.key != began.key or now == began:
            return "I5"
        return "I6" if now.name == began.name else "I37"

    def _why(self, key: Key, nodes: tuple[str, ...]) -> str:
        """Return why a job is to be stopped, or nothing."""
        uid, _ = key
        if uid in self.gone:
            return "removed"
        # What left stays in force as it was last: an edit that came before is still one.
        wish = self.force.get(uid) or self.waiting[uid]
        if wish.suspend or not self._is_possible(wish):
            return ""
        if wish.stop:
            return "asked"
        if wish.key != key:
            return "edited"
        return "drained" if self._grounds.are_overdue(nodes) else ""

    def _is_possible(self, wish: Wish) -> bool:
        """Say whether what a job waits for is there; else it is held as it is."""
        kept = [*self.force.values(), *(each for each in self.waiting.values() if each.team in self.unsettled)]
        return not wish.after or any((each.team, each.name) == (wish.team, wish.after) for each in kept)

    def judge(self, ledger: Ledger) -> None:
        """I5, I34, I36: judge what the daemon has newly written down that it will begin and stop."""
        self._grounds.judge(ledger)
        attempts = [(key, record.live) for key, record in ledger.jobs.items() if record.live is not None]
        for name, attempt in attempts:
            if attempt.submission_id not in self.intents:
                self._begins(name, attempt)
        stops = {(each.submission_id, each.stop.first): each for _, each in attempts if each.stop is not None}
        fresh = [each for key, each in stops.items() if key not in self._stops and key[0] not in self.condemned]
        # One that has not begun may be let go since its place is gone. Should it begin all the same, that is taken
        # back; and who asks it to end is judged when that is asked.
        self._stops |= stops.keys()
        if fresh:
            self._stops_not_too_many(fresh)
        self._written.update(
            (wish.team, wish.name) for wish in self.force.values() if _key_of(wish) in ledger.known
        )

    def _begins(self, name: str, attempt: Attempt) -> None:
        _, team, job = name.split("/")
        uid = self._world.people.named[team, job]
        wish = self.force.get(uid)
        # A broken file keeps what was in force; of what was never written down nothing is to be kept.
        is_kept = team in self.unsettled and (team, job) in self._written
        if wish is not None and wish.name != job and team in self.unsettled:
            # Renamed and edited while a broken file may be the old one: to anybody these are two jobs by now.
            wish = self._last[team, job] if is_kept else None
        if wish is None and is_kept:
            wish = self.waiting.get(uid)
        if wish is None or uid in self._forgotten:
            raise Broken("I36", f"{attempt.submission_id} begins, and no file that can be read describes its job")
        self._grounds.judge_place(attempt.submission_id, wish.pool, attempt.cluster, attempt.nodes)
        self.intents[attempt.submission_id] = wish

    def _stops_not_too_many(self, fresh: list[Attempt]) -> None:
        """I34: no more jobs than allowed are stopped at once that nobody named."""
        unnamed = set()
        for attempt in fresh:
            why, run = self._meant(attempt), self._world.machines.runners.of(attempt.submission_id)
            is_alive = run is not None and run.alive
            if not why and is_alive:
                promise = self.broken_by_stopping(attempt.submission_id)
                raise Broken(promise, f"{attempt.submission_id} is to stop, and nobody asked for it")
            if why:
                self.condemned.add(attempt.submission_id)
            if why not in NAMED and is_alive:
                unnamed.add(self.intents[attempt.submission_id].uid)
        weight = unnamed | {uid for uid in self._to_be_stopped() if unnamed}
        if len(weight) > BRAKES["maxStops"] and not self._is_covered(weight):
            raise Broken("I34", f"{len(weight)} running jobs are to stop at once, and nobody approved that")

    def _meant(self, attempt: Attempt) -> str:
        assert attempt.stop is not None, "asked for those only"
        if attempt.stop.cause in LIMITS:
            return "limit"
        return self._why(self.intents[attempt.submission_id].key, attempt.nodes)

    def _to_be_stopped(self) -> Iterator[int]:
        for run in self._world.machines.runners.runs:
            if run.alive and run.submission_id not in self.condemned:
                uid, _ = key_of(run)
                if uid in self.waiting:
                    # It has left: until that is let go nothing is done, and an edit before it is of no matter.
                    is_due = self.waiting[uid].team in self.unsettled
                else:
                    is_due = self._why(key_of(run), run.nodes) not in NAMED
                if is_due:
                    yield uid

    def _is_covered(self, uids: set[int]) -> bool:
        return any(uids <= self._offered.get(digest, {}).keys() for digest in self._approvals)
