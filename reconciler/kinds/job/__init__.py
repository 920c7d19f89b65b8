"""Job: work that a user wants run."""

from reconciler.kind import Kind
from reconciler.kinds.job.execute import (
    burn_claim,
    delete_ray_record,
    stop_attempt,
    submit_attempt,
    sweep_attempt,
)
from reconciler.kinds.job.observe import looks, looks_then
from reconciler.kinds.job.plan import plan
from reconciler.kinds.job.settle import deleted, submitted
from reconciler.kinds.job.status import queues, status, status_of
from reconciler.model.effect import BurnClaim, DeleteRayRecord, StopAttempt, SubmitAttempt, SweepAttempt

KIND = Kind(
    name="Job",
    plural="jobs",
    short=("j",),
    plan=plan,
    status=status,
    status_of=status_of,
    looks=looks,
    looks_then=looks_then,
    extras=queues,
    effects={
        SubmitAttempt: submit_attempt,
        StopAttempt: stop_attempt,
        SweepAttempt: sweep_attempt,
        BurnClaim: burn_claim,
        DeleteRayRecord: delete_ray_record,
    },
    settle={SubmitAttempt: submitted, DeleteRayRecord: deleted},
)
