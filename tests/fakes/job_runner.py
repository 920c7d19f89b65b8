"""The job runner of the node program, without processes: what it writes, when it ends, and what ends it.

Each rule names the test that saw it here and on the real one; `test_names.py` looks for them.
"""

import hashlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

from reconciler.model.ray import Submission
from tests.fakes.files import FakeFiles
from tests.fakes.ray_world import End, Node, Process, Program, RayWorld
from tests.fakes.signer import verify

BEAT_SECONDS = 10.0
# What the sweep of a gate and the keeper give to a runner before they kill it.
REST_GRACE = 2.0
NO_CLAIM, TAKEN, BAD_CONFIG, CANNOT_RUN = 74, 75, 78, 127
ROOT = "/shared"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a runner runs: a machine in one of its boots."""

    host: str
    boot: str


@dataclass(slots=True)
class Stranger:
    """A process of somebody else."""

    place: Place
    pid: int
    start_ticks: int
    alive: bool = True


@dataclass(slots=True)
class Run:
    """One runner that took a claim: the truth about an attempt. `began` says that its program was started."""

    submission_id: str
    folder: str
    place: Place
    pid: int
    start_ticks: int
    process: Process
    task: dict[str, Any] = field(default_factory=dict)
    began: bool = False
    began_at: float = 0.0
    outcome: str = ""
    reason: str = "exited"
    signal: int | None = None
    # Whether what its program had started has outlived it.
    left: bool = False

    @property
    def lives(self) -> bool:
        """Whether the runner lives, or something that was below it."""
        return self.process.alive or self.left

    @property
    def alive(self) -> bool:
        """Whether the program runs, or what it started."""
        return self.began and self.lives

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that the attempt occupies."""
        return tuple(str(self.task.get("env", {}).get("RAYOPS_NODES", "")).split(","))


class Runners:
    """Every runner that ever began, on any machine. `argv` of a job is `work SECONDS CODE STOP_SECONDS ...`."""

    def __init__(self, shared: FakeFiles, place: Callable[[Node], Place | None]) -> None:
        self.ray = RayWorld(lambda _: Program(0.1, CANNOT_RUN), self._begin)
        self.runs: list[Run] = []
        self.strangers: list[Stranger] = []
        # Hosts that lack what a start takes (test_a_machine_that_lacks_something_is_not_the_jobs_fault).
        self.exhausted: set[str] = set()
        # How long other machines take to see what a runner writes, as on a network file system.
        self.lag = 0.0
        # Hosts that have lost the shared directory, as far as it concerns what begins there.
        self.blind: set[str] = set()
        self._shared = shared
        self._place = place

    def of(self, submission_id: str) -> Run | None:
        """Return the one runner that has the claim of an attempt."""
        return next((run for run in self.runs if run.submission_id == submission_id), None)

    def on(self, node: Node) -> list[Run]:
        """Return what lives on a node."""
        return [run for run in self.runs if run.process.node is node and run.lives]

    def at(self, place: Place) -> list[Run]:
        """Return what lives on a machine."""
        return [run for run in self.runs if run.place == place and run.lives]

    def process_at(self, place: Place, pid: int) -> Run | Stranger | None:
        """Return what lives on a machine under a process number."""
        processes: list[Run | Stranger] = [*self.at(place), *(s for s in self.strangers if s.place == place)]
        return next((each for each in processes if each.pid == pid), None)

    def take_number(self, run: Run) -> None:
        """Let somebody else's process get the number of a runner that has ended.

        Numbers are used again: test_a_claim_cannot_point_a_sweep_at_a_stranger,
        test_a_stranger_with_the_number_of_a_runner_is_never_swept.
        """
        if not run.process.alive and self.process_at(run.place, run.pid) is None:
            self.strangers.append(Stranger(run.place, run.pid, self._ticks()))

    def _ticks(self) -> int:
        return 1000 + len(self.runs) + len(self.strangers)

    def _free_number(self, place: Place) -> int:
        """Return a process number that nothing on a machine has now."""
        return next(pid for pid in count(100) if self.process_at(place, pid) is None)

    def kill(self, run: Run) -> None:
        """End a runner and all below it without a word (test_a_sweep_tells_and_ends_what_is_left)."""
        run.left = False
        self.ray.end_process(run.process, End.KILLED)

    def kill_alone(self, run: Run) -> None:
        """End a runner; what its program had started lives on (test_what_outlived_its_runner_counts_as_alive).

        What is left is all that a sweep can see: it bears the mark of its job, or is in the session of the program
        (test_what_hides_and_outlives_its_runner_counts_as_alive). What hides from both on purpose is not modelled.
        """
        run.left = run.began and run.process.alive
        self.ray.end_process(run.process, End.KILLED)

    def crash(self, run: Run, number: int = signal.SIGKILL) -> None:
        """End the program by a signal, as lack of memory does (test_how_a_program_ended_is_told_exactly)."""
        run.signal = number
        self._end_with(run, 128 + number)

    def finish(self, run: Run) -> None:
        """Let a program end well before its time."""
        self._end_with(run, 0)

    def terminate(self, run: Run, patience: float) -> None:
        """Ask a runner to end, and kill it when it takes longer (test_a_stop_gives_the_program_its_grace)."""
        run.left = False
        if run.process.program.stop_seconds <= patience:
            self._later(run, run.process.program.stop_seconds, lambda: self._stop(run, "stopped"))
        else:
            self._later(run, patience, lambda: self.kill(run))

    def _later(self, run: Run, seconds: float, event: Callable[[], None]) -> None:
        if seconds <= 0:
            event()
        else:
            self.ray.after(seconds, lambda: event() if run.process.alive else None)

    def _begin(self, submission: Submission, process: Process) -> None:
        """Claim, then run (test_a_claimed_attempt_is_never_run_again)."""
        # Both are words without blanks and quotes; reading all of the command word by word would take long.
        folder, digest = submission.entrypoint.split()[-2:]
        folder = folder.removeprefix(f"{ROOT}/")
        place = self._place(process.node)
        if place is not None and place.host in self.blind:
            # test_a_job_directory_that_cannot_be_written_runs_nothing
            process.program = Program(0.1, NO_CLAIM)
            return
        if place is None or self._shared.read_elsewhere(f"{folder}/claim.json") is not None:
            process.program = Program(0.1, TAKEN)
            return
        run = Run(submission.submission_id, folder, place, self._free_number(place), self._ticks(), process)
        self.runs.append(run)
        claim = {"hostName": place.host, "bootId": place.boot, "pid": run.pid, "startTicks": run.start_ticks}
        self._write(run, "claim", {"submissionId": run.submission_id, **claim, "claimedAt": ""})
        process.ended = lambda how: self._ended(run, how)
        task = self._shared.read_elsewhere(f"{folder}/config/attempt.json")
        if task is None or hashlib.sha256(task).hexdigest() != digest:
            # test_a_bad_description_runs_nothing_and_says_so, test_a_description_that_somebody_changed_runs_nothing
            run.reason, process.program = "not-started", Program(0.1, BAD_CONFIG)
            return
        run.task = json.loads(task)
        if self._newer_head(run):
            # test_an_attempt_of_an_older_head_does_not_begin
            run.reason, process.program = "fenced", Program(0.1, CANNOT_RUN)
            return
        if place.host in self.exhausted:
            run.reason, process.program = "hindered", Program(0.1, CANNOT_RUN)
            return
        run.began, run.began_at = True, self.ray.seconds
        process.program = self._program(run)
        self._beat(run)

    def _program(self, run: Run) -> Program:
        _, seconds, code, stop_seconds, *_ = run.task["argv"]
        # test_a_program_that_ignores_the_stop_is_killed_after_its_grace
        stop = min(float(stop_seconds), float(run.task["graceSeconds"]))
        limit = run.task.get("attemptLimitSeconds")
        if limit is not None and float(limit) < float(seconds):
            # test_the_attempt_limit_ends_the_program
            self._later(run, float(limit), lambda: self._stop(run, "timed-out"))
        return Program(float(seconds), int(code), stop, outlives_raylet=True)

    def _stop(self, run: Run, reason: str) -> None:
        if run.process.alive and run.reason == "exited":
            run.reason = reason
            self._later(run, run.process.program.stop_seconds, lambda: self._end_with(run, 143))

    def _end_with(self, run: Run, code: int) -> None:
        run.process.program = replace(run.process.program, exit_code=code)
        self.ray.end_process(run.process)

    def _ended(self, run: Run, how: End) -> None:
        """Write the result last, unless there was no chance to (test_what_outlived_its_runner_counts_as_alive)."""
        if how is End.KILLED:
            run.outcome = "killed"
            return
        if how is End.STOPPED and run.reason == "exited":
            run.reason = "stopped"
        run.outcome = run.reason
        code = run.process.program.exit_code
        result = {
            "protocol": 1,
            "submissionId": run.submission_id,
            "outcome": run.reason,
            "exitCode": None if run.signal is not None or run.reason == "stopped" else code,
            "signal": run.signal if run.signal is not None else (15 if run.reason == "stopped" else None),
            "startedAt": "",
            "endedAt": "",
            "seconds": 0.0,
            "message": "",
        }
        self._write(run, "result", result)

    def _beat(self, run: Run) -> None:
        """Beat, and look for a newer head (test_a_newer_head_ends_the_program)."""
        if not run.process.alive:
            return
        self._shared.write_elsewhere(f"{run.folder}/heartbeat.json", b"{}")
        if run.reason == "exited" and self._newer_head(run):
            self._stop(run, "fenced")
        self.ray.after(BEAT_SECONDS, lambda: self._beat(run))

    def _newer_head(self, run: Run) -> bool:
        """Say whether a signed head file is newer (test_an_attempt_of_an_older_head_does_not_begin)."""
        file = self._shared.read_elsewhere(run.task["headFile"].removeprefix(f"{ROOT}/"))
        if file is None:
            return False
        try:
            head = json.loads(file)
            if not verify(head["payload"].encode(), head["signature"], run.task["allowedSigners"]):
                return False
            payload = json.loads(head["payload"])
        except (ValueError, KeyError, TypeError):
            # test_a_torn_file_is_refused, test_a_newer_head_file_ends_a_job_only_when_it_is_true
            return False
        # test_the_file_of_another_cluster_is_refused, test_a_newer_head_file_ends_a_job_only_when_it_is_true
        return bool(payload.get("cluster") == run.task["cluster"] and payload["epoch"] > int(run.task["epoch"]))

    def _write(self, run: Run, name: str, document: dict[str, Any]) -> None:
        path = f"{run.folder}/{name}.json"
        self._shared.write_elsewhere(path, json.dumps(document).encode(), hidden=self.lag > 0)
        if self.lag > 0:
            self.ray.after(self.lag * _SEEN_AFTER[name], partial(self._shared.reveal, path))


# What was written later may be seen sooner: a result before the claim that came first.
_SEEN_AFTER = {"claim": 1.0, "result": 0.3}
