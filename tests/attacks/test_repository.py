"""Attacks by what is committed, on the running daemon and the command line."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from reconciler.config import SourceSettings
from reconciler.desired.yaml import MAX_DEPTH
from tests.attacks.stage import BASE, CANARY, Stage, check_out, document, has_fault, job, stage, trap
from tests.desired.test_yaml import BOMB
from tests.e2e.installation import Installation, installation

MiB = 1 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("repository")) as made:
        yield made


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Installation]:
    """Somebody with a work tree and the command line."""
    with installation() as made:
        yield made


def test_links_and_submodules_lead_nowhere(site: Stage) -> None:
    """Links out of the repo showed other teams' files: one to a system file, one to another team's folder."""
    site.commit({}, links={"jobs/a.yaml": "/etc/shadow", "teams/b": "../a"})
    errors = site.errors()
    assert "it is a symbolic link" in errors["jobs/a.yaml"][0]
    assert "it is a symbolic link" in errors["teams/b"][0]
    seen = site.made.object("team/b")
    assert seen is not None, "what stood where the link stands now was not removed"
    assert seen["sync"] == "Stale"
    assert "root:" not in site.files()
    module = ("160000", site.remote.git("rev-parse", "main"), b"users")
    site.commit_tree([*(entry for entry in site.entries() if entry[2] != b"users"), module])
    assert "submodule" in site.errors()["users"][0]
    assert (site.made.object("user/alice") or {})["sync"] == "Stale"


@pytest.mark.parametrize("at", ["include", "spec.include", "spec.workload.include"])
def test_no_field_reads_another_file(site: Stage, at: str) -> None:
    """Files named by other files were read from other teams' folders: `include: ../../team-b/secrets.yaml`."""
    line = "include: ../../team-b/secrets.yaml"
    text = job("x", f"  {line}\n" if at == "spec.include" else "")
    if at == "include":
        text += f"{line}\n"
    elif at == "spec.workload.include":
        text = job("x", workload=f"argv: [x], {line}")
    site.commit({"teams/a/jobs/x.yaml": text})
    (error,) = site.errors()["teams/a/jobs/x.yaml"]
    assert f"{at}: this field is not known" in error


HOSTILE_PATHS = {
    "up": "../../team-b/secrets.yaml",
    "root": "//proc/self/root/",
    "absolute": "/etc/shadow",
    "encoded": "a/..%2f..",
    "nul": r"a\0b",
    "return": r"a\r",
    "own": ".rayops/clusters",
    "option": "-x",
}


def test_a_working_directory_stays_below_the_shared_root(site: Stage) -> None:
    """Paths in desired state that leave their root: `..`, `//proc/self/root/`, `%2f`, NUL, a trailing CR."""
    files = {
        f"teams/a/jobs/{name}.yaml": job(name, workload=f'argv: [x], workingDir: "{path}"')
        for name, path in HOSTILE_PATHS.items()
    }
    site.commit(files)
    errors = site.errors()
    assert set(errors) == set(files)
    assert all(len(said) == 1 and "spec.workload.workingDir: " in said[0] for said in errors.values())


SECRET_PLACES = {
    "teams/a/jobs/type.yaml": job("type", f"  resources: {{nodes: {CANARY}}}\n"),
    "teams/a/jobs/list.yaml": job("list", workload=f"argv: {CANARY}"),
    "teams/a/jobs/entry.yaml": job("entry", workload=f"argv: [[{CANARY}]]"),
    "teams/a/jobs/env.yaml": job("env", workload=f"argv: [x], env: [WANDB_API_KEY={CANARY}]"),
    "teams/a/jobs/name.yaml": job("name", workload=f"argv: [x], env: {{'WANDB={CANARY}': x}}"),
    "teams/a/jobs/choice.yaml": job("choice", f"  priority: {CANARY}\n"),
    "teams/a/jobs/time.yaml": job("time", f"  limits: {{attempt: {CANARY}}}\n"),
    "teams/a/jobs/text.yaml": job("text").replace("user: alice", f"user: '{CANARY}\u200b'"),
    "teams/a/jobs/other.yaml": job("other", team=f"{CANARY}\u200b"),
    "teams/a/jobs/anchor.yaml": f"a: &{CANARY} 1\n",
    "teams/a/jobs/alias.yaml": f"a: *{CANARY}\n",
    "teams/a/jobs/tag.yaml": f"a: !{CANARY} 1\n",
    "teams/a/jobs/twice.yaml": f"{CANARY}: 1\n{CANARY}: 2\n",
    "teams/a/jobs/quote.yaml": f'token: "{CANARY}\n',
    "teams/a/jobs/colons.yaml": f"token: {CANARY}: x\n",
    "teams/a/jobs/kind.yaml": document(CANARY, "x", "{}"),
    "users/user.yaml": document("User", "user", f"{{email: '{CANARY}'}}"),
    "pool.yaml": document("NodePool", "pool", f"{{nodes: {CANARY}, cluster: [{CANARY}]}}"),
    "cluster.yaml": document("Cluster", "cluster", f"{{ray: {CANARY}, head: {{candidates: {CANARY}}}}}"),
    "site2.yaml": document("Site", "site", f"{{brakes: {{maxStops: {CANARY}}}}}"),
    "list.yaml": f"- {CANARY}\n",
    "nothing.yaml": CANARY,
}


def test_no_value_of_a_broken_file_is_told_anywhere(site: Stage, asker: Installation, tmp_path: Path) -> None:
    """Parse errors quoted what they could not read: a secret in a wrong-typed field must be in no output at all."""
    site.commit(SECRET_PLACES)
    errors = site.errors()
    assert set(errors) == set(SECRET_PLACES)
    told = site.files() + site.answers()
    tree = check_out(tmp_path / "tree", {**BASE, **SECRET_PLACES})
    told += asker.rayops("validate", str(tree), code=2) + asker.rayops("validate", str(tree), "-o", "json", code=2)
    told += site.made.rayops("plan", "--tree", str(tree), code=None)
    assert all(path in told for path in SECRET_PLACES)
    assert CANARY not in told


def test_a_tree_of_a_million_files_is_refused(site: Stage) -> None:
    """Too many files: two tree objects that name a thousand times a thousand files, and none of them is read."""
    assert SourceSettings().max_files == 200_000
    blob = site.remote.blob(b"x: 1\n")
    thousand = site.remote.tree([("100644", blob, b"%04d.yaml" % number) for number in range(1000)])
    million = site.remote.tree([("40000", thousand, b"%04d" % number) for number in range(1000)])
    site.remote.commit_tree(site.remote.tree([("40000", million, b"jobs"), *site.entries()]))
    site.until_told(partial(has_fault, "TooLarge"), nudge=True)
    assert (site.made.object("user/alice") or {})["sync"] == "Synced"
    assert memory_peak(site.pid) < 500 * MiB
    site.commit({})
    site.until_told(lambda summary: summary["source"] is None)


def test_a_file_of_two_gigabytes_is_refused_unread(asker: Installation, tmp_path: Path) -> None:
    """A huge file: its size is looked at before its bytes, by the daemon and by the command line alike."""
    tree = check_out(tmp_path / "tree", BASE)
    with (tree / "huge.yaml").open("wb") as huge:
        huge.truncate(2 << 30)
    settings = asker.home / "rayops.toml"
    settings.write_text(settings.read_text().replace(f'url = "{asker.repo}"', f'directory = "{tree}"'))
    asker.start()
    asker.until("user/alice", "Ready")
    asker.until_file(asker.status / "summary.json", "huge.yaml")
    assert asker.daemon is not None
    assert memory_peak(asker.daemon.pid) < 500 * MiB
    said = asker.rayops("validate", str(tree), code=2)
    assert "huge.yaml" in said
    assert asker.stop() == 0


def memory_peak(pid: int) -> int:
    """Return the most memory that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def test_files_that_grow_when_they_are_read_are_refused(site: Stage, tmp_path: Path) -> None:
    """Bombs: 3,000 nested lists, nine times nine aliases, a list that holds itself, keys twice, tags that run."""
    program, trace = trap(tmp_path)
    hostile: dict[str, tuple[str | bytes, str]] = {
        "nested.yaml": ("[" * 3000, f"1:{MAX_DEPTH + 1}: "),
        "bomb.yaml": (BOMB, "1:4: "),
        "itself.yaml": ("&a [*a]", "1:1: "),
        "twice.yaml": ("gpus: 1\ngpus: 64\n", "2:1: "),
        "merge.yaml": ("a: {b: 1}\n<<: {c: 2}\n", "2:1: "),
        "apply.yaml": (f"!!python/object/apply:os.system ['{program}']\n", "1:1: "),
        "inside.yaml": (f"a: !!python/object/new:os.system [{program}]\n", "1:4: "),
        "many.yaml": ("- " * 3000, f"1:{2 * MAX_DEPTH + 1}: "),
    }
    site.commit({name: content for name, (content, _) in hostile.items()})
    errors = site.errors()
    assert {name: place for name, (_, place) in hostile.items() if not errors[name][0].startswith(place)} == {}
    assert not trace.exists()
    assert memory_peak(site.pid) < 500 * MiB


CONFUSED = {
    "bool": ("  resources: {gpusPerNode: true}\n", "spec.resources.gpusPerNode"),
    "endless": ("  resources: {gpusPerNode: .inf}\n", ""),
    "octal": ("  resources: {nodes: 012}\n", ""),
    "quoted": ('  resources: {nodes: "64"}\n', "spec.resources.nodes"),
    "fraction": ("  resources: {nodes: 2.0}\n", "spec.resources.nodes"),
    "clock": ("  limits: {attempt: 12:30:45}\n", ""),
    "huge": ("  resources: {nodes: 1e999}\n", ""),
    "no": ("  stop: no\n", ""),
}


def test_a_type_that_only_looks_right_is_refused(site: Stage) -> None:
    """Types that readers disagree about: `true`, `.inf`, `012`, `"64"`, `2.0`, `no`, `12:30:45`."""
    files = {f"teams/a/jobs/{name}.yaml": job(name, spec) for name, (spec, _) in CONFUSED.items()}
    files["users/no.yaml"] = document("User", "no", "{}")
    files["quota.yaml"] = document("Team", "q", "{members: [], quota: [{pool: gpu, gpus: 012}]}")
    site.commit(files)
    errors = site.errors()
    assert set(errors) == set(files)
    for name, (_, field) in CONFUSED.items():
        assert field in errors[f"teams/a/jobs/{name}.yaml"][0]
    assert not list(site.made.status.glob("job/*/*.json"))


def test_text_that_almost_matches_costs_nothing_and_is_refused(site: Stage) -> None:
    """Patterns that take for ever, or let a line end pass: a label of 50 kB that almost matches, `job1` and LF."""
    label = "a" * 50_000 + "!"
    files = {
        "users/label.yaml": document("User", "label", "{}", metadata=f", labels: {{x: '{label}'}}"),
        "users/key.yaml": document("User", "key", "{}", metadata=f", labels: {{'{label}': x}}"),
        "users/mail.yaml": document("User", "mail", f"{{email: '{'a' * 50_000}'}}"),
        "users/name.yaml": document("User", f'"{"a-" * 25_000}"', "{}"),
        "teams/a/jobs/end.yaml": job('"job1\\n"'),
        "teams/a/jobs/host.yaml": job("host", '  dependsOn: ["a/job1\\n"]\n'),
    }
    before = time.monotonic()
    site.commit(files)
    assert time.monotonic() - before < 20
    assert set(site.errors()) == set(files)
    assert "job1" not in site.files()


def test_a_name_that_passes_for_another_one_is_refused(site: Stage) -> None:
    """Names that look alike: a Cyrillic letter, a zero-width joiner, a change of direction, another case."""
    names = {"cyrillic": "t\u0435am-a", "joiner": "team\u200d-a", "bidi": "\u202ea-maet", "case": "A"}
    files = {f"users/{key}.yaml": document("User", f'"{name}"', "{}") for key, name in names.items()}
    files |= {f"teams/{name}/team.yaml": document("Team", "a", "{members: []}") for name in names.values()}
    site.commit(files)
    assert len(site.errors()) == 8
    assert sorted(path.stem for path in site.made.status.glob("team/*.json")) == ["a", "b"]
    told = site.files() + site.answers()
    assert not any(mark in told for mark in "\u200d\u202e")
