"""Where things are below the shared root, and what their age means."""

from datetime import timedelta

JOBS = "jobs"
ANCHOR = ".rayops/site.json"
ALLOWED_SIGNERS = ".rayops/allowed_signers"
# The name that head files are signed with, in the allowed signers file and for `ssh-keygen -Y verify -I`.
SIGNER = "rayops"
# What a leader says of itself every ten seconds, in the status directory. One that pauses for a restart or a slow
# pass is not yet silent.
HEARTBEAT = "heartbeat.json"
SILENT_AFTER = timedelta(minutes=2)


def job_dir(submission_id: str) -> str:
    """Return the directory of one attempt."""
    return f"{JOBS}/{submission_id}"


def program(digest12: str) -> str:
    """Return the place of the node program with this digest."""
    return f".rayops/bin/node-{digest12}.pyz"


def cluster_dir(cluster: str) -> str:
    """Return the directory of a cluster's head file."""
    return f".rayops/clusters/{cluster}"


def head_file(cluster: str) -> str:
    """Return the signed head file of a cluster."""
    return f"{cluster_dir(cluster)}/head.json"


def head_ip(cluster: str) -> str:
    """Return the plain address of a cluster's head, for people and old scripts."""
    return f"{cluster_dir(cluster)}/head_ip"
