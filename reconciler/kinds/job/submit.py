"""From a job and its place to a submission."""

from dataclasses import replace

from reconciler.kinds.job.ending import trimmed
from reconciler.model.effect import SubmitAttempt
from reconciler.model.ids import ObjectId
from reconciler.model.job import Job
from reconciler.model.json import canonical
from reconciler.model.ledger import Attempt, Change, JobRecord, Table
from reconciler.model.plan import Action, Because, Reason, Weight
from reconciler.model.ray import HeadAddress
from reconciler.model.views import ClusterView, cluster_of, node_record, pool_of
from reconciler.model.world import World


def submission_id(job: ObjectId, digest: str, number: int) -> str:
    """Return the id of an attempt in Ray and on disk; never used twice, since numbers are not.

    No name holds a dot: with a hyphen there, `a/b-c` and `a-b/c` would share their ids.
    """
    return f"{job.team}.{job.name}-{digest[:8]}-{number}"


def next_number(world: World, job: ObjectId) -> int:
    """Return the number of the next attempt; it outlives the job's record."""
    return world.ledger.numbers.get(str(job), 0) + 1


def admit(
    world: World, job: Job, record: JobRecord, identity: ObjectId, cluster: ClusterView, nodes: tuple[str, ...]
) -> Action:
    """Return the action that starts the next attempt of a job on its nodes."""
    number = next_number(world, identity)
    first = node_record(world, cluster.name, nodes[0])
    assert first is not None, "only started nodes are placed on"
    assert cluster.head is not None, "only a ready cluster is placed on"
    attempt = Attempt(
        number=number,
        submission_id=submission_id(identity, record.digest, number),
        digest=record.digest,
        cluster=cluster.name,
        epoch=cluster.epoch,
        nodes=nodes,
        machine=first.machine,
        intended=world.now,
    )
    before = (
        Change(Table.NUMBERS, str(identity), number),
        Change(Table.JOBS, str(identity), replace(trimmed(record), attempts=(*trimmed(record).attempts, attempt))),
    )
    effect = submission(job, attempt, cluster.head, world)
    text = f"attempt {number} on {', '.join(nodes)}"
    because = Because(Reason.NEW, text, (("attempt", number), ("nodes", len(nodes))))
    return Action(identity, effect, because, before, Weight.NONE, f"attempt:{attempt.submission_id}")


def submission(job: Job, attempt: Attempt, head: HeadAddress, world: World) -> SubmitAttempt:
    """Return the effect that hands an attempt to Ray."""
    spec, team, name = job.spec, job.metadata.team, job.metadata.name
    cluster = cluster_of(world, attempt.cluster)
    pool = pool_of(world, spec.pool)
    folder = world.ledger.folder(ObjectId("Job", team, name))
    gpus = spec.resources.gpus_per_node
    cpus = pool.spec.per_node.cpus if pool is not None else 1
    env = {
        # Ray sets 1 for a driver without CPUs of its own, which makes every PyTorch process on it crawl.
        "OMP_NUM_THREADS": str(max(1, cpus // max(1, gpus))),
        **spec.workload.env,
        "RAYOPS_ATTEMPT": str(attempt.number),
        "RAYOPS_GPUS_PER_NODE": str(gpus),
        "RAYOPS_JOB": name,
        "RAYOPS_NODES": ",".join(attempt.nodes),
        "RAYOPS_NODE_COUNT": str(len(attempt.nodes)),
        "RAYOPS_SUBMISSION_ID": attempt.submission_id,
        "RAYOPS_TEAM": team,
        "RAYOPS_USER": spec.user,
    }
    return SubmitAttempt(
        head=head,
        submission_id=attempt.submission_id,
        epoch=attempt.epoch,
        nodes=attempt.nodes,
        argv=spec.workload.argv,
        working_dir=spec.workload.working_dir,
        env=env,
        metadata={"team": team, "job": name, "digest": attempt.digest, "attempt": str(attempt.number)},
        grace=spec.grace,
        checkpoints=f"users/{spec.user}/checkpoints/{team}/{folder}",
        python=cluster.spec.ray.python if cluster is not None else "python3",
        spec=canonical(job.model_dump(mode="json", exclude_defaults=True)).decode(),
    )
