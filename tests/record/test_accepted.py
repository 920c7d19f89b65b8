"""Promise: an operator's word about a rewritten history is good for one change."""

import errno

from reconciler.record.accepted import Accepted
from tests.fakes.files import FakeFiles


def test_what_was_accepted_is_used_up_by_the_change_that_knew_of_it() -> None:
    files = FakeFiles()
    operator, daemon = Accepted(files), Accepted(files)
    operator.add("a1")
    assert daemon.revisions() == {"a1"}
    operator.add("b2")
    daemon.use_up()
    assert daemon.revisions() == {"b2"}, "given after the daemon had looked"


def test_what_cannot_be_read_is_not_accepted_and_what_cannot_be_removed_goes_later() -> None:
    files = FakeFiles()
    accepted = Accepted(files)
    accepted.add("a1")
    assert accepted.revisions() == {"a1"}
    files.fail(errno.EIO, times=1)
    accepted.use_up()
    files.fail(errno.EIO, times=1)
    assert accepted.revisions() == frozenset()
    assert accepted.revisions() == {"a1"}
    accepted.use_up()
    assert accepted.revisions() == frozenset()
