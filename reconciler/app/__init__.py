"""The composition root: the only place that builds real things and puts them together."""

from reconciler.app.lead import run_daemon, run_once
from reconciler.app.look import Preview, preview, recover
from reconciler.app.parts import ReadOnly, Refused, accept, daemon_pid

__all__ = ["Preview", "ReadOnly", "Refused", "accept", "daemon_pid", "preview", "recover", "run_daemon", "run_once"]
