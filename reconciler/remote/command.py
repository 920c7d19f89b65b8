"""How a machine starts the node program: from memory, and only the one that the daemon built."""

import re
from dataclasses import dataclass

# Both words come from the daemon's own settings, never from desired state; they are checked all the same, since
# they reach the remote shell.
_PLAIN = re.compile(r"[A-Za-z0-9_/.@+][A-Za-z0-9_/.@+,:=~-]{0,500}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")

# The program lies on the share, where every job can write, and all machines run it. So it is read once and only run
# when it has the digest that the daemon gives along. Standard library of Python 3.9; no single quote, since a shell
# carries it between two of them; the same text stands in deploy/rayops-gate.
LOADER = """import hashlib, importlib.util, io, sys, zipfile
with open(sys.argv[1], "rb") as file:
    program = file.read()
if hashlib.sha256(program).hexdigest() != sys.argv[2]:
    sys.exit("the node program on the share is not the one that the daemon put there")
files = zipfile.ZipFile(io.BytesIO(program))
def run(name, space):
    exec(compile(files.read(name), name, "exec"), space)
class Program:
    def find_spec(self, name, path=None, target=None):
        place = name.replace(".", "/")
        for origin, package in ((place + "/__init__.py", True), (place + ".py", False)):
            if origin in files.NameToInfo:
                return importlib.util.spec_from_loader(name, self, origin=origin, is_package=package)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        run(module.__spec__.origin, module.__dict__)
sys.meta_path.insert(0, Program())
del sys.argv[1:3]
run("__main__.py", globals())"""


def node_command(python: str, program: str, sha256: str, *arguments: str) -> tuple[str, ...]:
    """Return the command: isolated mode, so that neither environment nor folder adds code to it."""
    return (python, "-I", "-c", LOADER, program, sha256, *arguments)


@dataclass(frozen=True, slots=True)
class GateCommand:
    """Where machines find the node program, its digest, and the Python that runs it."""

    program: str
    sha256: str
    python: str = "python3"

    def __post_init__(self) -> None:
        if not (self.program.startswith("/") and _PLAIN.fullmatch(self.program) and _PLAIN.fullmatch(self.python)):
            raise ValueError("the gate needs an absolute program path, and both words must be plain file names")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError("the gate needs the digest of its program")

    def argv(self) -> tuple[str, ...]:
        """Return the command that answers one request."""
        return node_command(self.python, self.program, self.sha256, "gate")
