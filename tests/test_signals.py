"""Promise: a signal is heard at whatever moment it comes, and stops the daemon or makes it look."""

import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from reconciler.daemon import Wakeups, listen

SECONDS = 20.0

# The loop is in the midst of looking at its event, which holds that one's lock.
IN_THE_MIDST = """
import signal, sys
from contextlib import ExitStack
from reconciler.daemon import Wakeups, listen
wakeups = Wakeups()
with ExitStack() as stack:
    listen(wakeups, stack)
    with wakeups.event._cond:
        signal.raise_signal(signal.SIGTERM)
    print(wakeups.event.wait(20), wakeups.stopping)
"""


def test_a_signal_in_the_midst_of_a_look_at_the_wake_ups_is_heard_after_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_MIDST], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("True True\n", 0), done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_many_signals_are_one_look(number: signal.Signals) -> None:
    wakeups = Wakeups()
    assert wakeups.take_source_due(), "due at the start"
    with ExitStack() as stack:
        listen(wakeups, stack)
        for _ in range(100_000):
            signal.raise_signal(number)
        assert wakeups.event.wait(SECONDS)
    assert (wakeups.take_source_due(), wakeups.take_source_due()) == (True, False)
    assert not wakeups.stopping


def test_afterwards_signals_mean_what_they_did_before() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    with ExitStack() as stack:
        listen(Wakeups(), stack)
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.set_wakeup_fd(-1) == -1
