"""`rayops run`, `once`, `sync` and `accept`: the daemon, one pass of it, and an operator's word to it."""

import os
import re
import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.cli.call import Call
from reconciler.cli.exit import Ended, Exit
from reconciler.cli.text import clean
from reconciler.config import Misconfigured, Settings, find, read_settings


def settings_of(call: Call) -> Settings:
    """Return the settings of this installation, or end the call with every mistake in them."""
    try:
        file = find(call.options.config, call.around.environment)
        if file is None:
            raise Ended(Exit.USAGE, "no settings file (give --config FILE; docs/operations.md has an example)")
        return read_settings(file)
    except Misconfigured as mistake:
        raise Ended(Exit.USAGE, str(mistake)) from mistake


@contextmanager
def refusals() -> Iterator[None]:
    """End the call when the daemon may not run here now or so, or somebody may not ask it to."""
    from reconciler.app import Refused

    try:
        yield
    except Refused as why:
        raise Ended(Exit.REFUSED, str(why)) from why
    except Misconfigured as mistake:
        raise Ended(Exit.USAGE, str(mistake)) from mistake


def _nudge(settings: Settings) -> int | None:
    """Make the daemon look at its source, and return its process id; None when there is none."""
    from reconciler.app import daemon_pid

    pid = daemon_pid(settings)
    try:
        if pid is not None:
            os.kill(pid, signal.SIGUSR1)
    except (ProcessLookupError, PermissionError) as error:
        # Another user's, or in another container that shares our directory.
        raise Ended(Exit.REFUSED, f"daemon {pid} cannot be signalled from here: {error.strerror}") from error
    return pid


class Run:
    """The daemon."""

    EXAMPLES = "  rayops --config /etc/rayops/rayops.toml run\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))

    def run(self, call: Call) -> Exit:
        """Run until TERM or INT; HUP and USR1 make it look at the source at once."""
        from reconciler.app import run_daemon

        with refusals():
            around = call.around
            run_daemon(settings_of(call), around.clock, call.options.log_level, around.environment.fail_points)
        return Exit.DONE


class Once:
    """One pass."""

    EXAMPLES = "  rayops once\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))

    def run(self, call: Call) -> Exit:
        """Do one pass and wait for what it began; say what it did."""
        from reconciler.app import run_once
        from reconciler.cli.plantext import passed

        with refusals():
            around = call.around
            report = run_once(
                settings_of(call), around.clock, call.options.log_level, around.environment.fail_points
            )
        for line in passed(report):
            call.screen.line(clean(line))
        return Exit.NO if report.trouble else Exit.DONE


class Sync:
    """A nudge."""

    EXAMPLES = "  git push && rayops sync\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add nothing."""

    def run(self, call: Call) -> Exit:
        """Make the daemon on this machine look at its source now, instead of at its next poll."""
        with refusals():
            pid = _nudge(settings_of(call))
        if pid is None:
            raise Ended(Exit.UNREACHABLE, "no daemon runs on this machine for this state directory")
        call.screen.note(f"daemon {pid} looks at its source now")
        return Exit.DONE


class Accept:
    """An operator's word on a rewritten history."""

    EXAMPLES = "  rayops accept 4f2c9d1a0b7e5c3d2f1a0b9c8d7e6f5a4b3c2d1e\n"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("revision", metavar="REVISION", help="the whole commit id that the status names")

    def run(self, call: Call) -> Exit:
        """Let the daemon apply a revision that does not follow the applied one, such as after a force push."""
        from reconciler.app import accept

        revision = call.options.revision
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision):
            raise Ended(Exit.USAGE, "give the whole commit id; `rayops get site` names it in a warning")
        settings = settings_of(call)
        with refusals():
            accept(settings, revision)
            _nudge(settings)
        call.screen.note(f"{revision} may be applied now")
        return Exit.DONE


RUN, ONCE, SYNC, ACCEPT = Run(), Once(), Sync(), Accept()
