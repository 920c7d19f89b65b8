"""A desired-state repo in a folder, and the verbs that check and edit it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from reconciler.clock import SystemClock
from tests.cli.site import Said, call

# Nothing of whoever runs the tests: no hooks, no signing, no templates.
IDENTITY = (("user.name", "Alice"), ("user.email", "alice@example.org"), ("commit.gpgsign", "false"))

HEAD = "apiVersion: rayops/v1\n"
CLUSTER = f"""{HEAD}kind: Cluster
metadata: {{name: main}}
spec:
  ray: {{version: 2.60.0}}
  head: {{candidates: [{{name: cpu-01, host: 10.0.0.1, user: ray}}]}}
"""
POOL = f"""{HEAD}kind: NodePool
metadata: {{name: h20}}
spec:
  cluster: main
  join: ssh
  perNode: {{gpus: 4, cpus: 64}}  # as delivered
  nodes:
    - {{name: h20-01, host: 10.0.0.11, user: ray}}
    - {{name: h20-02, host: 10.0.0.12, user: ray}}  # new fans in May
"""
TEAM = f"{HEAD}kind: Team\nmetadata: {{name: rl}}\nspec: {{members: [alice]}}\n"
USER = f"{HEAD}kind: User\nmetadata: {{name: alice}}\nspec: {{}}\n"
SITE = f"{HEAD}kind: Site\nmetadata: {{name: site}}\nspec:\n  brakes: {{maxStops: 5}}  # as agreed\n"
JOB = f"""# Asked for by the paper of May.
{HEAD}kind: Job
metadata: {{name: ppo, team: rl}}
spec:
  user: alice
  pool: h20
  resources: {{nodes: 1, gpusPerNode: 4}}  # half of it does not fit
  workload: {{type: command, argv: [train]}}
  # keep the end
"""
JOB_FILE = "teams/rl/jobs/ppo.yaml"
FILES = {
    "site.yaml": SITE,
    "clusters/main.yaml": CLUSTER,
    "nodepools/h20.yaml": POOL,
    "users/alice.yaml": USER,
    "teams/rl/team.yaml": TEAM,
    JOB_FILE: JOB,
}


@dataclass(frozen=True)
class Repo:
    """A work tree. `root` need not be the top of its Git repository."""

    root: Path

    def write(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def read(self, path: str) -> str:
        return (self.root / path).read_bytes().decode()

    def git(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            ["git", "-C", str(self.root), *words], input=given, capture_output=True, text=True, check=True
        )
        return done.stdout

    def begin(self) -> None:
        """Make a Git repository of the files that are here."""
        self.git("init", "--quiet", "--initial-branch", "main", "--template=")
        for name, value in IDENTITY:
            self.git("config", name, value)
        self.save()

    def save(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "As it was")

    def commits(self) -> list[str]:
        return self.git("log", "--format=%s").splitlines()

    def changed(self) -> list[str]:
        """Return the files that the last commit changed."""
        return self.git("show", "--format=", "--name-only", "-z", "HEAD").strip("\0").split("\0")

    def rayops(self, verb: str, *words: str) -> Said:
        return call(verb, "--repo", str(self.root), *words, clock=SystemClock())


def validate(root: Path, *words: str) -> Said:
    return call("validate", str(root), *words, clock=SystemClock())


def repo(root: Path, **files: str) -> Repo:
    """Return a repo with one object of each kind, all of it committed."""
    made = Repo(root)
    for path, content in FILES.items():
        made.write(path, content)
    made.begin()
    return made
