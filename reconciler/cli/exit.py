"""Exit codes, the same for every verb, and the one way for a verb to end early."""

from enum import IntEnum


class Exit(IntEnum):
    """What the exit code of `rayops` means. `plan --detailed-exitcode` alone follows Terraform's habit instead."""

    DONE = 0  # done, nothing differs, the condition is met
    NO = 1  # the answer is no: it differs, the job failed, the condition cannot come true
    USAGE = 2  # the command line, a setting or a document is wrong
    NOT_FOUND = 3
    TIMED_OUT = 4
    UNREACHABLE = 5  # status cannot be read, or is too old to be believed
    REFUSED = 6  # a policy, a quota or a lock says no
    BUG = 70  # ours; never 1, which is an answer (70 is EX_SOFTWARE of sysexits.h)
    INTERRUPTED = 130


class Ended(Exception):
    """Ends a verb with a code; the text says where, why and what to do, and goes to stderr."""

    def __init__(self, code: Exit, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
