"""The door to Ray: what a head can be asked and told."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from reconciler.model.outcome import Outcome
from reconciler.model.ray import HeadAddress, HeadSeen, Submission
from reconciler.model.sighting import Sighting


class RayApi(Protocol):
    """A head, as far as the daemon needs it. Every call returns within its `timeout`, whatever the head does."""

    def look(self, head: HeadAddress, submission_ids: Sequence[str], timeout: timedelta) -> Sighting[HeadSeen]:
        """Look at a head, its nodes and the given jobs.

        `Absent` only when the address actively refuses connections; silence, errors and rubbish are `Unreachable`.
        """

    def submit(self, head: HeadAddress, submission: Submission, timeout: timedelta) -> Outcome:
        """Hand a job to Ray. An id that Ray already has is `Done`: an earlier try succeeded."""

    def stop(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Ask Ray to end a job, also one that has not started. `Done` means asked, not ended."""

    def delete(self, head: HeadAddress, submission_id: str, timeout: timedelta) -> Outcome:
        """Remove the record of an ended job. A record that is gone already is `Done`."""

    def drain(self, head: HeadAddress, node_id: str, reason: str, timeout: timedelta) -> Outcome:
        """Tell Ray that a node leaves, so that nothing new lands on it. It cannot be taken back."""

    def close(self) -> None:
        """End connections and child processes."""
