"""A world of Ray heads, nodes, jobs and driver processes that behaves as measured; time passes by `advance` only.

Each rule names the test that saw it here and on real Ray; `test_names.py` looks for them.
"""

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from itertools import count

from reconciler.model.ray import HeadAddress, RayJobStatus, RayNodeState, Submission

# Seconds, as measured on Ray 2.60.
START = 1.5  # from placed to RUNNING
NOTICE = 1.0  # the period in which a head notices what became of its jobs
STOP_GRACE = 3.0  # unless RAY_JOB_STOP_WAIT_TIME_S says otherwise
IDLE_LEAVE = 0.8  # from idle to gone, for a draining node
CLEAN_DEATH, ABRUPT_DEATH = 0.1, 15.0  # until the head sees that a raylet is gone
LONELY = 60.0  # a raylet without its head ends itself
START_LIMIT = 900.0  # RAY_JOB_START_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Program:
    """What a job's entrypoint does: end after `seconds`, take `stop_seconds` to end when asked to."""

    seconds: float = float("inf")
    exit_code: int = 0
    stop_seconds: float = 0.0
    outlives_raylet: bool = False
    reserves: float = 0.0  # CPUs of its node


def program_of(submission: Submission) -> Program:
    """Read the few commands that tests use: `sleep N`, `exit N`, `exit $NAME`, `trap "" TERM`, `reserve N`."""
    text = submission.entrypoint
    sleep = re.search(r"sleep[ (]([\d.]+)", text)
    reserve = re.search(r"reserve ([\d.]+)", text)
    code = re.search(r"exit (\d+)", text)
    name = re.search(r"exit \$(\w+)", text)
    # Ray sets this variable to 1 for such a job: test_threads_are_one_unless_they_are_set.
    env = {"OMP_NUM_THREADS": "1", **submission.env}
    return Program(
        seconds=float("inf") if "while" in text else float(sleep[1]) if sleep else 0.0,
        exit_code=int(code[1]) if code else int(env[name[1]]) if name else 0,
        stop_seconds=float("inf") if "trap ''" in text else 0.0,
        outlives_raylet=not text.startswith("exec "),
        reserves=float(reserve[1]) if reserve else 0.0,
    )


class End(Enum):
    """How a driver ended."""

    EXITED = auto()  # by itself
    STOPPED = auto()  # Ray asked it to, and it did
    KILLED = auto()  # without a chance to say anything


def _unheard(*_: object) -> None:
    """Be told of something that nobody listens to."""


@dataclass(slots=True)
class Node:
    """One raylet."""

    node_id: str
    labels: dict[str, str]
    total: dict[str, float]
    is_head: bool = False
    state: RayNodeState = RayNodeState.ALIVE
    running: bool = True  # what is true; `state` is what the head believes
    lonely: float = LONELY
    ended: Callable[[], None] = _unheard  # told when the raylet is gone


@dataclass(slots=True)
class Process:
    """One driver on a node: what really runs, whatever any head says."""

    submission_id: str
    node: Node
    program: Program
    alive: bool = True
    ended: Callable[[End], None] = _unheard  # told how it ended, before any head knows


@dataclass(slots=True)
class Job:
    """One job record of one head."""

    submission: Submission
    status: RayJobStatus = RayJobStatus.PENDING
    message: str = "Job has not started yet."
    error_type: str = ""
    exit_code: int | None = None
    node: Node | None = None
    process: Process | None = None
    stop_asked: bool = False

    def end(self, status: RayJobStatus, message: str, error_type: str = "", exit_code: int | None = None) -> None:
        """Set the last status; Ray never changes it again."""
        if not self.status.ended:
            self.status, self.message = status, message
            self.error_type, self.exit_code = error_type, exit_code


@dataclass(slots=True)
class Head:
    """One life of one head."""

    address: HeadAddress
    session: str
    token: str
    ray_version: str = "2.60.0"
    token_required: bool = True
    start_limit: float = START_LIMIT
    alive: bool = True
    silent: bool = False
    machine_gone: bool = False
    backlog: list[Callable[[], object]] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)


class RayWorld:
    """Everything there is. Nothing happens between two calls of `advance`, except what a door asks for at once."""

    def __init__(
        self,
        programs: Callable[[Submission], Program] = program_of,
        begins: Callable[[Submission, Process], None] = _unheard,
    ) -> None:
        self.seconds = 0.0
        self.processes: list[Process] = []
        self._programs = programs
        self._begins = begins
        self._heads: dict[tuple[str, int], Head] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due happens in order."""
        until = self.seconds + seconds
        while self._events and self._events[0][0] <= until:
            self.seconds, _, event = heapq.heappop(self._events)
            event()
        self.seconds = until

    def start_head(
        self,
        address: HeadAddress,
        *,
        token: str = "token",
        token_required: bool = True,
        start_limit: float = START_LIMIT,
    ) -> Head:
        """Start a head: a new session that knows no job of the one before (test_a_new_head_knows_nothing)."""
        session = f"session_{next(self._numbers):06}"
        head = Head(address, session, token, token_required=token_required, start_limit=start_limit)
        self._heads[address.host, address.dashboard_port] = head
        self._join(head, {"rayops-node": "head-01"}, {"memory": 1e9}, is_head=True)
        return head

    def start_worker(
        self, head: Head, name: str, *, cpus: float = 4, gpus: float = 4, lonely: float = LONELY
    ) -> Node:
        """Start a worker that is labelled as our node `name`."""
        node = self._join(head, {"rayops-node": name}, {"CPU": cpus, "GPU": gpus, "memory": 1e9})
        node.lonely = lonely
        return node

    def head_at(self, address: HeadAddress) -> Head | None:
        """Return whatever head answers at an address, be it the right one or not."""
        return self._heads.get((address.host, address.dashboard_port))

    def kill_head(self, head: Head) -> None:
        """End a head; its workers' drivers run on (test_a_dead_head_is_absent_and_its_drivers_run_on).

        They do so until their raylets have been alone for too long (test_a_worker_of_a_dead_head_ends_by_itself).
        What it was asked while it was frozen is never done (test_what_a_frozen_head_was_asked_dies_with_it).
        """
        head.alive = False
        head.backlog.clear()
        for node in head.nodes.values():
            self.after(0.0 if node.is_head else node.lonely, partial(self._end_raylet, node))

    def freeze(self, head: Head) -> None:
        """Stop a head without ending it: what it is asked waits in its sockets."""
        head.silent = True

    def thaw(self, head: Head) -> None:
        """Let a frozen head go on: it does what it was asked meanwhile (test_a_frozen_head_obeys_late)."""
        head.silent = False
        while head.backlog:
            head.backlog.pop(0)()

    def kill_node(self, head: Head, node: Node, *, abruptly: bool = True) -> None:
        """End a raylet; the head believes in it for a while (test_a_killed_node_stays_listed_as_dead)."""
        self._end_raylet(node)
        self.after(ABRUPT_DEATH if abruptly else CLEAN_DEATH, lambda: self._bury(head, node))

    def running(self, submission_id: str) -> list[Process]:
        """Return the living drivers of an id, whichever head started them."""
        return [each for each in self.processes if each.alive and each.submission_id == submission_id]

    def submit(self, head: Head, submission: Submission) -> bool:
        """Take a job unless its id is known; say whether it was taken (test_an_id_runs_once)."""
        if submission.submission_id in head.jobs:
            return False
        job = head.jobs[submission.submission_id] = Job(submission)
        self.after(head.start_limit, lambda: self._give_up(job))
        self._place(head)
        return True

    def stop(self, head: Head, job: Job) -> bool:
        """Ask a job to end; say whether there was anything to ask (test_a_stop_takes_the_job_s_grace)."""
        if job.status.ended:
            return False
        job.stop_asked = True
        if job.process is not None:
            grace = float(job.submission.env.get("RAY_JOB_STOP_WAIT_TIME_S", STOP_GRACE))
            seconds = min(job.process.program.stop_seconds, grace)
            process = job.process
            self.after(seconds + 0.1, lambda: self._end_process(head, job, process, End.STOPPED))
        return True

    def end_process(self, process: Process, how: End = End.EXITED) -> None:
        """Let a driver end outside of Ray's will; a head that knows it sees an exit code."""
        for head in self._heads.values():
            job = head.jobs.get(process.submission_id)
            if job is not None and job.process is process:
                self._end_process(head, job, process, how)
                return
        if process.alive:
            process.alive = False
            process.ended(how)

    def end_pending(self, job: Job) -> bool:
        """End a job that was not placed; the record follows later (test_a_pending_job_can_be_stopped)."""
        if job.node is not None or job.status.ended:
            return False
        self.after(NOTICE, lambda: job.end(RayJobStatus.FAILED, "never ran", "JOB_SUPERVISOR_ACTOR_DIED"))
        return True

    def drain(self, head: Head, node: Node) -> None:
        """Let nothing new land; the node leaves once idle (test_a_drained_node_takes_nothing_new_and_leaves)."""
        node.state = RayNodeState.DRAINING
        self._leave_if_idle(head, node)

    def free(self, head: Head, node: Node) -> dict[str, float]:
        """Return what is free on a node; zero is left out.

        test_a_job_may_reserve_its_whole_node_in_many_bundles
        """
        used = sum(job.process.program.reserves for job in _on(head, node) if job.process is not None)
        free = {**node.total, "CPU": node.total.get("CPU", 0.0) - used}
        return {name: amount for name, amount in free.items() if amount > 0} if node.running else {}

    def _join(self, head: Head, labels: dict[str, str], total: dict[str, float], *, is_head: bool = False) -> Node:
        node = Node(f"{next(self._numbers):056x}", labels, total, is_head)
        head.nodes[node.node_id] = node
        self._place(head)
        return node

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen once this time has passed."""
        heapq.heappush(self._events, (self.seconds + seconds, next(self._numbers), event))

    def _place(self, head: Head) -> None:
        for job in head.jobs.values():
            if job.node is None and not job.status.ended:
                job.node = next((node for node in head.nodes.values() if self._fits(head, node, job)), None)
                if job.node is not None:
                    self.after(START, partial(self._start, head, job, job.node))

    def _fits(self, head: Head, node: Node, job: Job) -> bool:
        wanted = job.submission
        if not node.running or node.state is not RayNodeState.ALIVE:
            return False
        if not wanted.label_selector:
            return node.is_head  # test_a_job_without_wishes_runs_on_the_head
        return all(_matches(node.labels.get(key), text) for key, text in wanted.label_selector.items())

    def _start(self, head: Head, job: Job, node: Node) -> None:
        if job.status.ended or not node.running or not head.alive:
            return
        # test_a_job_runs_where_it_shall_and_carries_its_stamp
        job.status, job.message = RayJobStatus.RUNNING, "Job is currently running."
        process = job.process = Process(job.submission.submission_id, node, self._programs(job.submission))
        self.processes.append(process)
        self._begins(job.submission, process)
        if process.program.seconds != float("inf"):
            self.after(process.program.seconds, lambda: self._end_process(head, job, process))
        if job.stop_asked:  # test_a_job_that_is_stopped_while_it_starts_never_runs_on
            self.stop(head, job)

    def _end_process(self, head: Head, job: Job, process: Process, how: End = End.EXITED) -> None:
        if not process.alive:
            return
        process.alive = False
        process.ended(how)
        if (
            not process.node.running
        ):  # it has outlived its supervisor: test_a_dead_head_is_absent_and_its_drivers_run_on
            return
        # test_a_failed_job_shows_its_exit_code
        code = process.program.exit_code if how is not End.KILLED else -9
        if how is End.STOPPED:
            job.end(RayJobStatus.STOPPED, "Job was intentionally stopped.")
        elif code == 0:
            job.end(RayJobStatus.SUCCEEDED, "Job finished successfully.", exit_code=0)
        else:
            job.end(RayJobStatus.FAILED, "Job entrypoint command failed", "JOB_ENTRYPOINT_COMMAND_ERROR", code)
        self._leave_if_idle(head, process.node)
        self._place(head)

    def _end_raylet(self, node: Node) -> None:
        if not node.running:
            return
        node.running = False
        for process in self.processes:
            # test_a_driver_that_forked_away_outlives_even_its_raylet,
            # test_without_exec_a_driver_outlives_its_raylet
            if process.node is node and process.alive and not process.program.outlives_raylet:
                process.alive = False
                process.ended(End.KILLED)
        node.ended()

    def _bury(self, head: Head, node: Node) -> None:
        node.state = RayNodeState.DEAD
        for job in _on(head, node):
            job.end(RayJobStatus.FAILED, "Job supervisor actor died", "JOB_SUPERVISOR_ACTOR_DIED")
        self._place(head)

    def _leave_if_idle(self, head: Head, node: Node) -> None:
        def leave() -> None:
            if node.running and node.state is RayNodeState.DRAINING and not list(_on(head, node)):
                self._end_raylet(node)
                self._bury(head, node)

        self.after(IDLE_LEAVE, leave)

    def _give_up(self, job: Job) -> None:
        """End a job that had no place for too long (test_a_job_that_never_gets_a_place_fails)."""
        if job.status is RayJobStatus.PENDING and job.process is None:
            job.end(RayJobStatus.FAILED, "failed to start in time", "JOB_SUPERVISOR_ACTOR_START_TIMEOUT")


def _on(head: Head, node: Node) -> Iterator[Job]:
    return (job for job in head.jobs.values() if job.node is node and not job.status.ended)


def _matches(value: str | None, selector: str) -> bool:
    wanted = not selector.startswith("!")
    text = selector.lstrip("!")
    options = text[3:-1].split(",") if text.startswith("in(") else [text]
    return (value in options) is wanted
