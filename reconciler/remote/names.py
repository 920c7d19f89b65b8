"""Host names to addresses within a budget: a dead name server blocks `getaddrinfo` for tens of seconds."""

import ipaddress
import socket
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillLooking
from threading import Lock, Thread

from reconciler.remote.budget import Budget


class Names:
    """Looks host names up, each name by one thread at a time, so that a dead name server costs a bounded number."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: dict[str, Future[str]] = {}

    def address(self, host: str, budget: Budget) -> str | None:
        """Return an address of `host`, or None when there is none or the budget ended first."""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass  # a name, not an address
        try:
            return self._ask(host).result(timeout=budget.left())
        except (StillLooking, OSError, UnicodeError):
            return None

    def _ask(self, host: str) -> Future[str]:
        with self._lock:
            future = self._asked.get(host)
            if future is None:
                future = self._asked[host] = Future()
                # A daemon thread: nothing can interrupt getaddrinfo, and it must not delay our own end.
                Thread(target=self._look_up, args=(host, future), name="name lookup", daemon=True).start()
            return future

    def _look_up(self, host: str, future: Future[str]) -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            future.set_result(str(found[0][4][0]))
        except (OSError, UnicodeError) as error:
            future.set_exception(error)
        finally:
            with self._lock:
                del self._asked[host]
