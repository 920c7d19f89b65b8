"""A promise that does not hold."""


class Broken(BaseException):
    """A promise does not hold: its number, and what happened in words. No handler of the daemon may swallow it."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
        self.what = what
