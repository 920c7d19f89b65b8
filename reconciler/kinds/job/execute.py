"""Carry out what was decided about attempts."""

import hashlib
import shlex

from reconciler.kind import Doors
from reconciler.model.effect import BurnClaim, DeleteRayRecord, StopAttempt, SubmitAttempt, SweepAttempt
from reconciler.model.json import JsonObject, canonical
from reconciler.model.layout import SIGNER, head_file, job_dir
from reconciler.model.outcome import Done, Outcome
from reconciler.model.ray import NODE_LABEL, Submission
from reconciler.remote.command import node_command

# Ray kills what still runs this long after a stop; the runner needs a moment after the job's own grace to write
# its result.
RUNNER_GRACE_SECONDS = 15


def submit_attempt(doors: Doors, effect: SubmitAttempt) -> Outcome:
    """Write the job directory, then hand the attempt to Ray; both may be repeated with the same result."""
    attempt = canonical(_attempt(doors, effect))
    entrypoint = _entrypoint(doors, effect, attempt)
    _write_directory(doors, effect, attempt, entrypoint)
    submission = Submission(
        submission_id=effect.submission_id,
        entrypoint=entrypoint,
        env={
            "RAY_JOB_STOP_WAIT_TIME_S": str(int(effect.grace.total_seconds()) + RUNNER_GRACE_SECONDS),
            "OMP_NUM_THREADS": effect.env.get("OMP_NUM_THREADS", "1"),
        },
        metadata=effect.metadata,
        label_selector={NODE_LABEL: effect.nodes[0]},
    )
    return doors.ray.submit(effect.head, submission, doors.site.request_timeout)


def _entrypoint(doors: Doors, effect: SubmitAttempt, attempt: bytes) -> str:
    """Return the command line of the job runner; the program of the user is data in the job directory.

    Other jobs can write there as well: the digests say which runner and which attempt are meant. `exec` lets the
    runner be the process that Ray watches: behind a shell it would outlive its supervisor.
    """
    folder = f"{doors.site.shared_root}/{job_dir(effect.submission_id)}"
    site, digest = doors.site, hashlib.sha256(attempt).hexdigest()
    return "exec " + shlex.join(
        node_command(effect.python, site.program, site.program_sha256, "run", folder, digest)
    )


def _environment(doors: Doors, effect: SubmitAttempt) -> dict[str, str]:
    root = doors.site.shared_root
    return {
        **effect.env,
        "RAYOPS_CHECKPOINT_DIR": f"{root}/{effect.checkpoints}",
        "RAYOPS_JOB_DIR": f"{root}/{job_dir(effect.submission_id)}",
        "RAYOPS_SHARED_ROOT": root,
    }


def _attempt(doors: Doors, effect: SubmitAttempt) -> JsonObject:
    root = doors.site.shared_root
    folder = effect.working_dir if effect.working_dir is not None else job_dir(effect.submission_id)
    return {
        "protocol": 1,
        "submissionId": effect.submission_id,
        "cluster": effect.head.cluster,
        "epoch": effect.epoch,
        "argv": list(effect.argv),
        "workingDir": f"{root}/{folder}",
        "checkpoints": f"{root}/{effect.checkpoints}",
        "env": _environment(doors, effect),
        "graceSeconds": int(effect.grace.total_seconds()),
        "headFile": f"{root}/{head_file(effect.head.cluster)}",
        # The key itself: a file on the share could be replaced while the attempt runs, together with the head file.
        "allowedSigners": doors.signer.allowed_signers(),
        "signer": SIGNER,
    }


def _write_directory(doors: Doors, effect: SubmitAttempt, attempt: bytes, entrypoint: str) -> None:
    folder = job_dir(effect.submission_id)
    files = {
        f"{folder}/config/spec.yaml": effect.spec.encode() + b"\n",
        f"{folder}/config/submit_cmd.txt": entrypoint.encode() + b"\n",
        f"{folder}/config/env.json": canonical(_environment(doors, effect)),
        f"{folder}/config/attempt.json": attempt,
    }
    doors.shared.write_many(files)


def stop_attempt(doors: Doors, effect: StopAttempt) -> Outcome:
    """Ask Ray to stop an attempt."""
    return doors.ray.stop(effect.head, effect.submission_id, doors.site.request_timeout)


def sweep_attempt(doors: Doors, effect: SweepAttempt) -> Outcome:
    """Let the claiming machine end what is left of an attempt."""
    folder = f"{doors.site.shared_root}/{job_dir(effect.submission_id)}"
    return doors.ask(
        effect.machine, "sweep", {"jobDir": folder, "submissionId": effect.submission_id, "kill": True}
    )


def burn_claim(doors: Doors, effect: BurnClaim) -> Outcome:
    """Take a claim that nobody has taken; if somebody was faster, the next look shows it."""
    claim = canonical({"submissionId": effect.submission_id, "burnt": True})
    doors.shared.create(f"{job_dir(effect.submission_id)}/claim.json", claim)
    return Done()


def delete_ray_record(doors: Doors, effect: DeleteRayRecord) -> Outcome:
    """Let Ray forget a recorded attempt."""
    return doors.ray.delete(effect.head, effect.submission_id, doors.site.request_timeout)
