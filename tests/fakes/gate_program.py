"""A gate for tests: speaks the protocol, and misbehaves on request. Run as `python -I gate_program.py gate`."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def say(document: object) -> None:
    sys.stdout.write(json.dumps(document))
    sys.stdout.flush()


def answer(result: object) -> None:
    say({"protocol": 1, "ok": True, "result": result})


def note(args: dict[str, Any]) -> None:
    if mark := args.get("mark"):
        with Path(mark).open("a") as ran:
            ran.write("ran\n")


def echo(args: dict[str, Any]) -> None:
    note(args)
    answer({"args": args, "argv": sys.argv[1:], "pid": os.getpid(), "via": os.environ.get("SSH_CONNECTION")})


def refuse(args: dict[str, Any]) -> None:
    say({"protocol": 1, "ok": False, "kind": args["kind"], "message": args["message"]})


def say_text(args: dict[str, Any]) -> None:
    sys.stdout.write(args["text"])


def huge(_: dict[str, Any]) -> None:
    for _number in range(50):
        sys.stdout.write("x" * 1_000_000)


def hang(args: dict[str, Any]) -> None:
    Path(args["mark"]).write_text(str(os.getpid()))
    time.sleep(60)


def drip(_: dict[str, Any]) -> None:
    while True:
        sys.stdout.write(" ")
        sys.stdout.flush()
        time.sleep(0.05)


def complain(args: dict[str, Any]) -> None:
    sys.stderr.write("x" * 100_000 + f"\nlast words \x1b[31m{args.get('token')}\n")
    answer({})
    sys.exit(3)


def kill_itself(args: dict[str, Any]) -> None:
    note(args)
    answer({})
    os.kill(os.getpid(), signal.SIGKILL)


def keep(args: dict[str, Any]) -> None:
    """Answer, and leave a process behind that holds the pipes open, as a careless keeper would."""
    answer({})
    if os.fork() == 0:
        os.setsid()
        time.sleep(args["seconds"])


VERBS: dict[str, Callable[[dict[str, Any]], None]] = {
    "echo": echo,
    "refuse": refuse,
    "say": say_text,
    "huge": huge,
    "hang": hang,
    "drip": drip,
    "complain": complain,
    "kill-itself": kill_itself,
    "keep": keep,
}

if __name__ == "__main__":
    request = json.load(sys.stdin)
    VERBS[request["verb"]](request["args"])
