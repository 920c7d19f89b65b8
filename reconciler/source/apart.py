"""A source that is asked in a thread of its own: a remote that hangs delays news, and never the caller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import TypeAlias

from reconciler.clock import Clock
from reconciler.model.moment import Moment
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source.source import Source

Answer: TypeAlias = Snapshot | SourceProblem

# A fetch that is called off ends within a tenth of a second; one that hangs in the kernel is left behind.
FAREWELL = timedelta(seconds=3)


@dataclass(slots=True)
class _Question:
    """What the source is being asked, and since when; `unawaited` once its asker has gone on without an answer."""

    words: str
    asked: Moment
    done: Event = field(default_factory=Event)
    unawaited: bool = False
    answer: Answer | None = None
    failure: Exception | None = None


class Apart:
    """Implements `Source` on another one. One thread uses it, and one question is under way at a time.

    A question is waited for at most `patience`, and not at all after one that took longer; `wake` is called when
    an answer comes that nobody waits for any more. Until then the last answer stands, and is told to be old.
    `called_off` makes a question that is under way end early.
    """

    def __init__(
        self, source: Source, clock: Clock, patience: timedelta, wake: Callable[[], None], called_off: Event
    ) -> None:
        self._source = source
        self._clock = clock
        self._patience = patience
        self._wake = wake
        self._called_off = called_off
        self._lock = Lock()
        self._question: _Question | None = None
        self._last: Answer | None = None
        self._prompt = True

    def latest(self, applied: str | None, accepted: frozenset[str] = frozenset()) -> Answer:
        """Return the newest revision that may follow `applied`, as the source knew it last."""
        answer = self._ask("latest", lambda: self._source.latest(applied, accepted))
        if answer is not None:
            self._last = answer
            return answer
        return self._meanwhile()

    def at(self, revision: str) -> Answer:
        """Return a revision seen earlier, unless the source is busy with another question."""
        answer = self._ask(f"at {revision}", lambda: self._source.at(revision))
        return answer if answer is not None else SourceProblem(SourceFault.UNREACHABLE, "the source is still busy")

    def read(self, content_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the bytes of the given content ids; none of them while the source is busy with a question."""
        return self._source.read(content_ids) if self._question is None else {}

    def close(self) -> None:
        """Call off what is under way and close the source."""
        self._called_off.set()
        if self._question is not None and not self._clock.wait(self._question.done, FAREWELL):
            return
        self._source.close()

    def _ask(self, words: str, question: Callable[[], Answer]) -> Answer | None:
        """Return the answer to a question; None while it, or the one before it, is under way."""
        before = self._question
        if before is not None and before.words != words:
            if not before.done.is_set():
                return None
            self._question = None
        if self._question is None:
            self._question = self._begun(words, question)
            if self._prompt:
                self._clock.wait(self._question.done, self._patience)
        return self._taken(self._question)

    def _begun(self, words: str, question: Callable[[], Answer]) -> _Question:
        begun = _Question(words, self._clock.now())
        # A daemon thread: a call that hangs in the kernel must not keep the process from ending.
        Thread(target=self._carry_out, args=(begun, question), name="source", daemon=True).start()
        return begun

    def _carry_out(self, begun: _Question, question: Callable[[], Answer]) -> None:
        try:
            begun.answer = question()
        except Exception as failure:  # noqa: BLE001 - carried over to the caller's thread and raised there
            begun.failure = failure
        with self._lock:
            begun.done.set()
            unawaited = begun.unawaited
        if unawaited:
            self._wake()

    def _taken(self, begun: _Question) -> Answer | None:
        with self._lock:
            if not begun.done.is_set():
                begun.unawaited, self._prompt = True, False
                return None
        self._question = None
        self._prompt = self._prompt or self._clock.now().since(begun.asked) <= self._patience
        if begun.failure is not None:
            raise begun.failure
        return begun.answer

    def _meanwhile(self) -> Answer:
        """Return what can be said while the newest revision is still being asked for."""
        assert self._question is not None, "asked while a question is under way"
        since = self._question.asked
        if self._last is not None:
            is_fresh = self._clock.now().since(since) <= self._patience
            if is_fresh or isinstance(self._last, SourceProblem):
                return self._last
        return SourceProblem(SourceFault.UNREACHABLE, f"asked at {since.wall:%H:%M:%S} UTC and no answer yet")
