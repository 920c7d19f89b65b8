"""The Ray door on a world of the fake kind, with faults on demand."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import Enum, auto

from reconciler.clock import Clock
from reconciler.model.outcome import Done, FailureKind, NotDone, Outcome, Unknown
from reconciler.model.ray import HeadAddress, HeadSeen, RayJob, RayNode, RayNodeState, Submission
from reconciler.model.sighting import Absent, Present, Sighting, Unreachable
from reconciler.remote.files import FilesError
from reconciler.remote.ray_client import SUBMISSION_ID
from tests.fakes.ray_world import Head, Job, Node, RayWorld


class Fault(Enum):
    """What can go wrong with one call."""

    # Nothing was sent (test_a_dead_head_is_absent_and_its_drivers_run_on).
    NO_CONNECTION = auto()
    # It never arrived, and nobody can tell (test_what_a_frozen_head_was_asked_dies_with_it).
    LOST_REQUEST = auto()
    # It took effect, and nobody can tell (test_a_frozen_head_obeys_late).
    LOST_REPLY = auto()
    # It arrived twice (test_an_id_runs_once).
    DUPLICATE = auto()
    # HTTP 500 without effect (test_a_submit_ends_as_the_answer_says, test_a_fault_says_what_a_caller_can_know).
    SERVER_ERROR = auto()
    # No answer of Ray's, and no effect either:
    # test_rubbish_leaves_an_effect_unknown_and_is_in_time, test_a_fault_says_what_a_caller_can_know
    RUBBISH = auto()
    # Refused (test_a_wrong_token_is_refused_and_does_nothing).
    WRONG_TOKEN = auto()


class FakeRay:
    """Implements `RayApi` on a `RayWorld`. `fail` scripts the next calls of a verb; the world does the rest."""

    def __init__(
        self, world: RayWorld, clock: Clock, tokens: Callable[[str], str] = lambda _cluster: "token"
    ) -> None:
        self.world = world
        self.calls: list[tuple[str, str]] = []
        self._clock = clock
        self._tokens = tokens
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)

    def fail(self, verb: str, *faults: Fault) -> None:
        """Let the next calls of a verb meet these faults, one each."""
        self._faults[verb].extend(faults)

    def look(self, head: HeadAddress, submission_ids: Sequence[str], timeout: timedelta) -> Sighting[HeadSeen]:
        """Look at a head, its nodes and the given jobs."""
        # test_a_head_shows_session_version_nodes_and_that_it_is_closed
        fault = self._begin("look", head)
        now = self._clock.now()
        there = self.world.head_at(head)
        if fault not in {None, Fault.DUPLICATE}:
            return Unreachable(f"fault: {fault}", now)
        if there is None or (not there.alive and not there.machine_gone):
            return Absent(now)
        if there.silent or there.machine_gone:
            return Unreachable("no whole answer", now)
        if (token := self._token(head)) is None:
            return Unreachable("the token could not be read", now, asked=False)
        if token != there.token:
            return Unreachable("the head refuses our token (HTTP 403)", now)
        asked = frozenset(filter(SUBMISSION_ID.fullmatch, submission_ids))
        jobs = {each: _record(each, there.jobs[each]) for each in sorted(asked & there.jobs.keys())}
        nodes = tuple(_node(self.world, there, node) for _, node in sorted(there.nodes.items()))
        return Present(HeadSeen(there.session, there.ray_version, there.token_required, nodes, jobs, asked), now)

    def submit(self, head: HeadAddress, submission: Submission, timeout: timedelta) -> Outcome:
        """Hand a job to Ray. An id that Ray already has is `Done`: an earlier try succeeded."""
        # test_an_id_runs_once, test_an_id_that_ray_would_mistreat_is_not_sent
        if not SUBMISSION_ID.fullmatch(submission.submission_id):
            return NotDone(FailureKind.INVALID, "this is not a submission id")
        if not submission.entrypoint.startswith("exec "):
            return NotDone(FailureKind.BUG, "an entrypoint must begin with exec")
        return self._effect(
            "submit", head, lambda there: Done({"existed": not self.world.submit(there, submission)})
        )

    def stop(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Ask Ray to end a job, also one that has not started. `Done` means asked, not ended.

        test_a_running_job_is_stopped_and_not_deleted, test_a_pending_job_can_be_stopped
        """

        def ask(there: Head) -> Outcome:
            job = there.jobs.get(submission_id)
            if job is None:
                return Done({"known": False})
            signalled = self.world.stop(there, job)
            pending = {"pending": self.world.end_pending(job)} if signalled else {}
            return Done({"known": True, "signalled": signalled, **pending})

        return self._about_job("stop", head, submission_id, ask)

    def delete(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Remove the record of an ended job; its id is free again (test_an_id_is_free_again_after_delete)."""

        def forget(there: Head) -> Outcome:
            job = there.jobs.get(submission_id)
            if job is None:
                return Done({"existed": False})
            if not job.status.ended:  # test_a_running_job_is_stopped_and_not_deleted
                return NotDone(FailureKind.TRANSIENT, "Ray keeps the record: the job has not ended")
            del there.jobs[submission_id]
            return Done({"existed": True})

        return self._about_job("delete", head, submission_id, forget)

    def drain(self, head: HeadAddress, node_id: str, reason: str, timeout: timedelta) -> Outcome:
        """Tell Ray that a node leaves, so that nothing new lands on it. It cannot be taken back."""

        def tell(there: Head) -> Outcome:
            node = there.nodes.get(node_id)
            if node is None or node.state is RayNodeState.DEAD:
                return Done({"gone": True})  # test_a_drained_node_takes_nothing_new_and_leaves
            if node.is_head:  # test_the_head_s_own_node_is_never_drained
                return NotDone(FailureKind.REFUSED, "Ray refuses the drain: it is the head's own node")
            self.world.drain(there, node)
            return Done({"gone": False})

        return self._effect("drain", head, tell)

    def close(self) -> None:
        """Nothing is open."""

    def _begin(self, verb: str, head: HeadAddress) -> Fault | None:
        self.calls.append((verb, head.cluster))
        return self._faults[verb].popleft() if self._faults[verb] else None

    def _token(self, head: HeadAddress) -> str | None:
        try:
            return self._tokens(head.cluster)
        except FilesError:  # as the real door does: an effect is not begun, a look is no answer
            return None

    def _about_job(
        self, verb: str, head: HeadAddress, submission_id: str, effect: Callable[[Head], Outcome]
    ) -> Outcome:
        if not SUBMISSION_ID.fullmatch(submission_id):
            return NotDone(FailureKind.INVALID, "this is not a submission id")
        return self._effect(verb, head, effect)

    def _effect(self, verb: str, head: HeadAddress, effect: Callable[[Head], Outcome]) -> Outcome:
        fault = self._begin(verb, head)
        there = self.world.head_at(head)
        if there is None or not there.alive or fault is Fault.NO_CONNECTION:
            return NotDone(FailureKind.TRANSIENT, "the head was not reached: connection refused")
        if (token := self._token(head)) is None:
            return NotDone(FailureKind.TRANSIENT, "the token could not be read")
        if there.silent and fault is None and token == there.token:
            there.backlog.append(lambda: effect(there))
        if there.silent or fault in {Fault.LOST_REQUEST, Fault.SERVER_ERROR, Fault.RUBBISH}:
            return Unknown("the head was asked, but no whole answer came")
        if fault is Fault.WRONG_TOKEN or token != there.token:
            return NotDone(FailureKind.REFUSED, "the head refuses our token (HTTP 403)")
        outcome = effect(there)
        if fault is Fault.DUPLICATE:
            outcome = effect(there)
        return Unknown("the head was asked, but no whole answer came") if fault is Fault.LOST_REPLY else outcome


def _record(submission_id: str, job: Job) -> RayJob:
    return RayJob(
        submission_id=submission_id,
        status=job.status,
        message=job.message,
        error_type=job.error_type,
        exit_code=job.exit_code,
        node_id="" if job.process is None or job.node is None else job.node.node_id,
        metadata=dict(job.submission.metadata),
    )


def _node(world: RayWorld, head: Head, node: Node) -> RayNode:
    dead = node.state is RayNodeState.DEAD
    return RayNode(
        node_id=node.node_id,
        address=head.address.host,
        state=node.state,
        is_head=node.is_head,
        labels={} if dead else dict(node.labels),  # test_a_killed_node_stays_listed_as_dead
        total={} if dead else dict(node.total),
        available={} if dead else world.free(head, node),
    )
