"""Attacks and faults at the outermost surface: a real commit in a real remote, or the operator's settings."""

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.clock import SystemClock
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source.git import GitSource
from reconciler.source.git_setup import GitSettings
from reconciler.source.limits import Limits
from reconciler.source.location import SourceConfigError
from reconciler.source.mirror import MANY_PACKS
from tests.gitremote import GitRemote, http_server, needs, processes_with, sshd

Open = Callable[..., GitSource]

needs_sshd = needs("sshd", "ssh", "ssh-keygen")


@pytest.fixture
def remote(tmp_path: Path) -> GitRemote:
    return GitRemote(tmp_path / "remote.git")


@pytest.fixture
def opened(tmp_path: Path, remote: GitRemote) -> Iterator[Open]:
    """Open sources of the remote; they are closed, and all their processes must be gone, at the end."""
    with ExitStack() as stack:

        def build(**changes: object) -> GitSource:
            base = GitSettings(url=str(remote.folder), state=tmp_path / "state")
            source = GitSource(replace(base, **changes), SystemClock())  # type: ignore[arg-type]  # a table of settings
            stack.callback(source.close)
            return source

        yield build
    assert processes_with(str(tmp_path / "state")) == []


def snapshot(answer: Snapshot | SourceProblem) -> Snapshot:
    assert isinstance(answer, Snapshot), answer
    return answer


def problem(answer: Snapshot | SourceProblem) -> SourceProblem:
    assert isinstance(answer, SourceProblem), answer
    return answer


def trap(tmp_path: Path) -> tuple[Path, Path]:
    """Return a program that leaves a trace, and the trace."""
    program, trace = tmp_path / "trap.sh", tmp_path / "trace"
    program.write_text(f'#!/bin/sh\ntouch "{trace}"\nexec cat\n')
    program.chmod(0o755)
    return program, trace


# 1 Links, 8 look-alikes: tests/contract/test_source.py. 4 Size.


def test_a_tree_that_names_itself_a_billion_times_is_too_large(remote: GitRemote, opened: Open) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened(limits=Limits(files=1000))
    source.latest(None)
    tree = remote.tree([("100644", remote.blob(b"boom"), b"%d.yaml" % number) for number in range(10)])
    for _ in range(9):
        tree = remote.tree([("40000", tree, b"d%d" % number) for number in range(10)])
    remote.commit_tree(tree)
    assert problem(source.latest(first)).fault is SourceFault.TOO_LARGE


def test_a_tree_without_end_is_too_large(remote: GitRemote, opened: Open) -> None:
    tree = remote.tree([("100644", remote.blob(b"boom"), b"a.yaml")])
    for _ in range(70):
        tree = remote.tree([("40000", tree, b"d")])
    remote.commit_tree(tree)
    assert problem(opened().latest(None)).fault is SourceFault.TOO_LARGE


def test_a_huge_file_costs_only_itself(remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1", "huge.yaml": b"\0" * (20 << 20)})
    source = opened()
    seen = snapshot(source.latest(None))
    assert set(seen.files) == {"a.yaml"}
    assert set(seen.rejected) == {"huge.yaml"}
    huge = remote.git("rev-parse", "main:huge.yaml")
    assert source.read([huge, seen.files["a.yaml"]]) == {seen.files["a.yaml"]: b"1"}


def test_all_files_together_have_a_limit(remote: GitRemote, opened: Open) -> None:
    remote.commit({f"{number}.yaml": b"%d" % number * 500 for number in range(10)})
    assert problem(opened(limits=Limits(total_bytes=4000)).latest(None)).fault is SourceFault.TOO_LARGE


# 9 Options, 10 protocols: at the operator's settings; the rest in test_location.py.


@pytest.mark.parametrize(
    "changes",
    [
        {"branch": "--upload-pack=touch {trace};"},
        {"branch": "--output={trace}"},
        {"url": "--upload-pack=touch {trace}"},
        {"url": "ext::touch {trace}"},
        {"url": "ext::sh -c touch% {trace}"},
        {"url": "ssh://-oProxyCommand=touch%20{trace}/x"},
        {"sub_path": "--output={trace}"},
    ],
)
def test_no_setting_becomes_an_option_or_a_program(
    tmp_path: Path, remote: GitRemote, opened: Open, changes: dict[str, str]
) -> None:
    remote.commit({"a.yaml": b"1"})
    trace = tmp_path / "trace"
    with pytest.raises(SourceConfigError):
        opened(**{name: text.format(trace=trace) for name, text in changes.items()})
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["--upload-pack=touch {trace};", "--output={trace}", "-o{trace}", "ext::touch {trace}"]
)
def test_no_revision_becomes_an_option_or_a_program(
    tmp_path: Path, remote: GitRemote, opened: Open, name: str
) -> None:
    remote.commit({"a.yaml": b"1"})
    source = opened()
    source.latest(None)
    trace = tmp_path / "trace"
    assert problem(source.at(name.format(trace=trace))).fault is SourceFault.NO_BRANCH
    assert not trace.exists()


# 11 Submodules, 13 attributes, 16 names: a commit with everything that git has ever run or written by mistake.


def test_nothing_in_a_commit_is_run_or_blocks_the_rest(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    program, trace = trap(tmp_path)
    first = remote.commit({"a.yaml": b"1"})
    gitmodules = f'[submodule "../../.git/hooks"]\n\tpath = "sub\r"\n\turl = -u{program}\n\tupdate = !{program}\n'
    tree = remote.tree(
        [
            ("100644", remote.blob(f"*.yaml filter=evil\n# {'x' * 3000}\n".encode()), b".gitattributes"),
            ("100644", remote.blob(gitmodules.encode()), b".gitmodules"),
            ("100644", remote.blob(b"version https://git-lfs.github.com/spec/v1\n"), b"a.yaml"),
            ("160000", first, b"sub\r"),
        ]
    )
    remote.commit_tree(tree)
    source = opened()
    seen = snapshot(source.latest(first))
    assert set(seen.files) == {"a.yaml"}
    assert set(seen.rejected) == {"sub\\r"}
    assert source.read(list(seen.files.values())) == {
        seen.files["a.yaml"]: b"version https://git-lfs.github.com/spec/v1\n"
    }
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "rejected"),
    [(b".git", []), (b"..", []), (b".", []), (b"teams/b", ["teams/b"]), (b"b\xff.yaml", ["b\\xff.yaml"])],
)
def test_a_tree_entry_that_leads_elsewhere_is_left_out(
    remote: GitRemote, opened: Open, name: bytes, rejected: list[str]
) -> None:
    inner = remote.tree([("100644", remote.blob(b"evil"), b"evil.yaml")])
    good = ("100644", remote.blob(b"1"), b"a.yaml")
    entry = ("100644", remote.blob(b"evil"), name) if name.endswith(b".yaml") else ("40000", inner, name)
    remote.commit_tree(remote.tree(sorted([good, entry], key=lambda one: one[2])))
    seen = snapshot(opened().latest(None))
    assert (list(seen.files), list(seen.rejected)) == (["a.yaml"], rejected)


def test_a_tree_with_two_entries_of_one_name_is_refused(remote: GitRemote, opened: Open) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened()
    good = snapshot(source.latest(None))
    one, two = remote.blob(b"1"), remote.blob(b"2")
    remote.commit_tree(remote.tree([("100644", one, b"a.yaml"), ("100644", two, b"a.yaml")]))
    assert problem(source.latest(first)).fault is SourceFault.CORRUPT
    assert len(source.read(list(good.files.values()))) == 1


# 12 Configuration and hooks.


def test_the_remotes_configuration_and_hooks_run_nothing(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    program, trace = trap(tmp_path)
    remote.commit({"a.yaml": b"1"})
    for name in (
        "core.fsmonitor",
        "core.sshCommand",
        "uploadpack.packObjectsHook",
        "core.pager",
        "alias.upload-pack",
    ):
        remote.git("config", name, str(program))
    remote.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for hook in ("reference-transaction", "post-update", "pre-receive", "post-checkout"):
        (tmp_path / "hooks" / hook).symlink_to(program)
    source = opened()
    snapshot(source.latest(None))
    mirror_hooks = tmp_path / "state" / "mirror" / "hooks"
    mirror_hooks.mkdir(exist_ok=True)
    (mirror_hooks / "reference-transaction").symlink_to(program)
    remote.commit({"a.yaml": b"2"})
    snapshot(source.latest(None))
    assert not trace.exists()


def test_the_daemons_environment_reaches_no_git(
    tmp_path: Path, remote: GitRemote, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, trace = trap(tmp_path)
    (tmp_path / ".gitconfig").write_text(f"[core]\n\tfsmonitor = {program}\n\thooksPath = {tmp_path}\n")
    (tmp_path / "reference-transaction").symlink_to(program)
    hostile = {
        "HOME": tmp_path,
        "GIT_DIR": tmp_path / "elsewhere",
        "GIT_OBJECT_DIRECTORY": tmp_path / "elsewhere",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": program,
        "GIT_CONFIG_PARAMETERS": f"'core.hooksPath'='{tmp_path}'",
        "GIT_EXEC_PATH": tmp_path,
        "GIT_SSH_COMMAND": program,
        "GIT_TRACE": trace,
        "GIT_PROXY_COMMAND": program,
        "GIT_ALLOW_PROTOCOL": "ssh",
        "SSH_ASKPASS": program,
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, str(value))
    source = opened()
    monkeypatch.undo()
    remote.commit({"a.yaml": b"1"})
    for name, value in hostile.items():
        monkeypatch.setenv(name, str(value))
    assert set(snapshot(source.latest(None)).files) == {"a.yaml"}
    assert not trace.exists()


# 14 Another user's repository.


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a repository to another user")
def test_another_users_repository_is_read_because_it_was_named(
    tmp_path: Path, remote: GitRemote, opened: Open
) -> None:
    remote.commit({"a.yaml": b"1"})
    for path in [remote.folder, *remote.folder.rglob("*")]:
        os.chown(path, 1, 1)
    snapshot(opened().latest(None))
    allowed = (tmp_path / "state" / "gitconfig").read_text()
    assert [line.split()[-1] for line in allowed.splitlines() if "directory =" in line] == [
        f'"{remote.folder}"',
        f'"{remote.folder}/.git"',
    ]


def test_the_mirror_shares_no_file_with_the_remote(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1"})
    remote.git("repack", "-adq")
    opened().latest(None)
    for path in (tmp_path / "state").rglob("*"):
        seen = path.lstat()
        assert not stat.S_ISLNK(seen.st_mode)
        assert stat.S_ISDIR(seen.st_mode) or seen.st_nlink == 1
    assert not (tmp_path / "state" / "mirror" / "objects" / "info" / "alternates").exists()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_an_object_rewritten_under_its_name_is_refused(remote: GitRemote, opened: Open) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened()
    good = snapshot(source.latest(None))
    remote.commit({"a.yaml": b"honest"})
    honest, other = remote.git("rev-parse", "main:a.yaml"), remote.blob(b"rewritten")
    objects = remote.folder / "objects"
    (objects / honest[:2] / honest[2:]).unlink()
    (objects / other[:2] / other[2:]).rename(objects / honest[:2] / honest[2:])
    assert problem(source.latest(first)).fault is SourceFault.CORRUPT
    assert len(source.read(list(good.files.values()))) == 1


# 15 Credentials.


def secret_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_nowhere_but_in_its_file(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1"})
    found: list[str] = []
    with http_server(tmp_path, secret="c4nary") as server:
        server.look = lambda: found.extend(processes_with("c4nary"))
        url = f"http://127.0.0.1:{server.server_port}/remote.git"
        source = opened(url=url, allow_http=True, token_file=secret_file(tmp_path, "c4nary\n"))
        snapshot(source.latest(None))
        assert any(given for _, given in server.seen), "the token was asked for and given"
        secret_file(tmp_path, "c4nary-wrong\n")
        answer = problem(source.latest(None))
    assert answer.fault is SourceFault.REFUSED
    assert "c4nary" not in answer.message
    assert found == []
    for path in (tmp_path / "state").rglob("*"):
        assert path.is_dir() or b"c4nary" not in path.read_bytes()


def test_a_redirect_takes_the_token_nowhere(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1"})
    with http_server(tmp_path, secret="c4nary") as thief:
        with http_server(tmp_path, redirect=f"http://127.0.0.1:{thief.server_port}") as server:
            url = f"http://127.0.0.1:{server.server_port}/remote.git"
            source = opened(url=url, allow_http=True, token_file=secret_file(tmp_path, "c4nary\n"))
            answer = problem(source.latest(None))
        assert (answer.fault, thief.seen) == (SourceFault.REFUSED, [])


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    with http_server(tmp_path) as server:
        url = f"http://127.0.0.1:{server.server_port}/remote.git"
        source = opened(url=url, allow_http=True, token_file=secret_file(tmp_path, "c4nary", 0o644))
        answer = problem(source.latest(None))
        assert (answer.fault, server.seen) == (SourceFault.REFUSED, [])
    assert "chmod 600" in answer.message


def test_an_unknown_certificate_is_refused_without_a_question(
    tmp_path: Path, remote: GitRemote, opened: Open
) -> None:
    with http_server(tmp_path, secret="c4nary") as server:
        url = f"http://127.0.0.1:{server.server_port}/remote.git"
        answer = problem(opened(url=url, allow_http=True).latest(None))
        assert answer.fault is SourceFault.REFUSED, "no token file, no prompt, no helper"


# 16 Corruption, size, time.


@contextmanager
def dripping() -> Iterator[int]:
    """A server that gives one byte at a time and never ends."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n"
            )
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"0")
                except OSError:
                    return

    def serve() -> None:
        threads = []
        while not stop.is_set():
            try:
                threads.append(threading.Thread(target=drip, args=(server.accept()[0],)))
            except TimeoutError:
                continue
            threads[-1].start()
        for thread in threads:
            thread.join()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        stop.set()
        thread.join()
        server.close()


def test_a_remote_that_drips_is_left_in_time_and_leaves_no_process(tmp_path: Path, opened: Open) -> None:
    half = timedelta(seconds=0.5)
    with dripping() as port:
        source = opened(
            url=f"http://127.0.0.1:{port}/x.git", allow_http=True, limits=Limits(fetch=half, first_fetch=half)
        )
        answer = problem(source.latest(None))
        assert answer.fault is SourceFault.UNREACHABLE
        assert "0.5 s" in answer.message
        assert [
            line for line in processes_with(str(tmp_path / "state")) if "fetch" in line or "remote-http" in line
        ] == []


def test_a_fetch_that_is_too_large_is_ended_and_leaves_nothing(
    tmp_path: Path, remote: GitRemote, opened: Open
) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened(limits=Limits(fetched_bytes=1 << 20))
    good = snapshot(source.latest(None))
    remote.commit({"noise.bin": os.urandom(64 << 20)})
    assert problem(source.latest(first)).fault is SourceFault.TOO_LARGE
    assert list((tmp_path / "state").rglob("tmp_*")) == []
    assert len(source.read(list(good.files.values()))) == 1


def damage(folder: Path) -> int:
    """Flip a byte in the middle of every pack."""
    packs = list(folder.rglob("*.pack"))
    for pack in packs:
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 0xFF
        pack.write_bytes(content)
    return len(packs)


def test_a_damaged_remote_is_held_and_not_fetched_over_and_over(
    tmp_path: Path, remote: GitRemote, opened: Open
) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened()
    good = snapshot(source.latest(None))
    second = remote.commit({"a.yaml": b"2" * 1000, "b.yaml": os.urandom(1000)})
    remote.git("repack", "-adq")
    (pack,) = remote.folder.rglob("*.pack")
    whole = pack.read_bytes()
    damage(remote.folder)
    answers = [problem(source.latest(first)) for _ in range(8)]
    assert {answer.fault for answer in answers} == {SourceFault.CORRUPT}
    waits = [answer.message for answer in answers if "waits" in answer.message]
    assert len(waits) == 6, "passes 1 and 4 tried"
    assert all("fetching the desired repository: " in message for message in waits), "and still say what is wrong"
    assert len(source.read(list(good.files.values()))) == 1
    pack.write_bytes(whole)
    for _ in range(64):
        answer = source.latest(first)
        if isinstance(answer, Snapshot):
            break
    assert snapshot(answer).revision == second
    assert sorted(path.name for path in (tmp_path / "state").glob("mirror*")) == ["mirror"]


@pytest.mark.parametrize("harm", ["damage", "remove", "empty", "lock", "no tip"])
def test_a_damaged_mirror_is_built_anew(tmp_path: Path, remote: GitRemote, opened: Open, harm: str) -> None:
    remote.commit({"a.yaml": b"1" * 100, "b.yaml": b"2" * 100})
    source = opened()
    good = snapshot(source.latest(None))
    source.close()
    mirror = tmp_path / "state" / "mirror"
    match harm:
        case "damage":
            assert damage(mirror) == 1
        case "remove":
            mirror.rename(tmp_path / "gone")
        case "empty":
            (mirror / "HEAD").write_text("")
        case "lock":
            (mirror / "refs" / "rayops" / "tip.lock").touch()
            (mirror / "objects" / "pack" / "tmp_pack_x").touch()
        case _:
            (mirror / "refs" / "rayops" / "tip").write_text("0" * 40)
    again = opened()
    remote.commit({"c.yaml": b"3"})
    seen = snapshot(again.latest(good.revision))
    assert set(seen.files) == {"a.yaml", "b.yaml", "c.yaml"}
    assert len(again.read(list(seen.files.values()))) == 3
    assert list(mirror.rglob("tmp_*")) == []


def test_damage_that_a_read_finds_is_mended_by_the_next_look(
    tmp_path: Path, remote: GitRemote, opened: Open
) -> None:
    remote.commit({"a.yaml": b"1", "b.yaml": os.urandom(4000)})
    source = opened()
    good = snapshot(source.latest(None))
    damage(tmp_path / "state" / "mirror")
    assert good.files["b.yaml"] not in source.read(list(good.files.values()))
    assert source.latest(good.revision) is good
    assert len(source.read(list(good.files.values()))) == 2


def test_a_mirror_is_not_given_up_while_the_remote_is_away(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1", "b.yaml": os.urandom(4000)})
    source = opened()
    good = snapshot(source.latest(None))
    damage(tmp_path / "state" / "mirror")
    source.read(list(good.files.values()))
    remote.folder.rename(tmp_path / "away.git")
    assert problem(source.latest(good.revision)).fault is SourceFault.UNREACHABLE
    assert source.read([good.files["a.yaml"]]) == {good.files["a.yaml"]: b"1"}, "what is whole stays readable"
    (tmp_path / "away.git").rename(remote.folder)
    assert source.latest(good.revision) is good


def test_a_mirror_built_anew_from_another_history_goes_on(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1", "b.yaml": os.urandom(4000)})
    source = opened()
    good = snapshot(source.latest(None))
    damage(tmp_path / "state" / "mirror")
    source.read(list(good.files.values()))
    remote.force_push({"c.yaml": b"3"})
    assert problem(source.latest(good.revision)).fault is SourceFault.REWRITTEN
    assert set(snapshot(source.latest(None)).files) == {"c.yaml"}
    remote.commit({"d.yaml": b"4"})
    assert set(snapshot(source.latest(None)).files) == {"c.yaml", "d.yaml"}


def test_a_crash_during_the_change_over_loses_nothing(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened()
    source.latest(None)
    source.close()
    state = tmp_path / "state"
    (state / "mirror").rename(state / "mirror.old")
    (state / "mirror.new").mkdir()
    remote.folder.rename(tmp_path / "away.git")
    again = opened()
    assert snapshot(again.at(first)).revision == first
    assert sorted(path.name for path in state.glob("mirror*")) == ["mirror"]


# The mirror over time.


def test_a_restart_knows_what_was_fetched(remote: GitRemote, opened: Open) -> None:
    first = remote.commit({"a.yaml": b"1"})
    source = opened()
    source.latest(None)
    source.close()
    second = remote.commit({"a.yaml": b"2"})
    again = opened()
    assert snapshot(again.latest(first)).revision == second
    assert snapshot(again.at(first[:10])).revision == first


def test_a_thousand_commits_leave_few_packs(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    source = opened()
    first = applied = remote.commit({"a.yaml": b"0"})
    for number in range(MANY_PACKS + 5):
        applied = snapshot(source.latest(applied)).revision
        remote.commit({"a.yaml": b"%d" % number})
    assert len(list((tmp_path / "state").rglob("*.pack"))) < 12
    assert source.read(list(snapshot(source.at(first)).files.values()))


def test_closing_twice_is_closing_once(opened: Open) -> None:
    source = opened()
    source.close()
    source.close()
    opened()


def test_nothing_new_at_a_local_repository_starts_no_process(
    remote: GitRemote, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.commit({"a.yaml": b"1"})
    source = opened()
    good = snapshot(source.latest(None))
    started: list[object] = []
    monkeypatch.setattr(GitSource, "_launch", lambda *given: started.append(given))
    assert source.latest(good.revision) is good
    assert started == []


def test_one_state_folder_has_one_user(opened: Open) -> None:
    opened()
    with pytest.raises(SourceConfigError, match="in use by another process"):
        opened()


@pytest.mark.parametrize(
    ("sub_path", "expected"),
    [
        ("teams/rl", {"team.yaml", "jobs/a.yaml"}),
        ("nothing", SourceFault.EMPTY),
        ("site.yaml", SourceFault.BAD_ENTRY),
    ],
)
def test_a_sub_path_is_all_that_is_seen(
    remote: GitRemote, opened: Open, sub_path: str, expected: set[str] | SourceFault
) -> None:
    revision = remote.commit({"site.yaml": b"1", "teams/rl/team.yaml": b"2", "teams/rl/jobs/a.yaml": b"3"})
    answer = opened(sub_path=sub_path).latest(revision)
    assert (set(answer.files) if isinstance(answer, Snapshot) else answer.fault) == expected


def test_a_change_outside_of_the_sub_path_changes_only_the_revision(remote: GitRemote, opened: Open) -> None:
    remote.commit({"site.yaml": b"1", "teams/rl/team.yaml": b"2"})
    source = opened(sub_path="teams/rl")
    first = snapshot(source.latest(None))
    second = remote.commit({"site.yaml": b"9"})
    seen = snapshot(source.latest(first.revision))
    assert (seen.revision, seen.files) == (second, first.files)


def test_a_packed_or_nested_repository_is_followed_too(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "work").mkdir()
    remote = GitRemote(tmp_path / "work" / ".git")
    first = remote.commit({"a.yaml": b"1"})
    remote.git("pack-refs", "--all")
    source = opened(url=str(tmp_path / "work"))
    assert snapshot(source.latest(None)).revision == first
    assert source.latest(first) is source.latest(first)
    second = remote.commit({"a.yaml": b"2"})
    assert snapshot(source.latest(first)).revision == second


def test_a_sha256_repository_is_refused_with_the_reason(tmp_path: Path, opened: Open) -> None:
    other = GitRemote(tmp_path / "other.git", "--object-format=sha256")
    other.commit({"a.yaml": b"1"})
    answer = problem(opened(url=str(other.folder)).latest(None))
    assert answer.fault is SourceFault.REFUSED
    assert "mismatched algorithms" in answer.message


PATHS = st.sampled_from(["a.yaml", "b.yml", "t/a.yaml", "t/u/c.yaml", "t", "t/u", "x.md", ".d/a.yaml"])
EDITS = st.dictionaries(PATHS, st.sampled_from([None, b"1", b"2", b"link"]), max_size=5)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_differences_add_up_to_the_tree(
    tmp_path_factory: pytest.TempPathFactory, edits: list[dict[str, bytes | None]]
) -> None:
    folder = tmp_path_factory.mktemp("sums")
    remote = GitRemote(folder / "remote.git")
    with ExitStack() as stack:
        step = GitSource(GitSettings(url=str(remote.folder), state=folder / "step"), SystemClock())
        stack.callback(step.close)
        for edit in edits:
            remote.git("read-tree", "--empty")
            standing = {path: content for path, content in edit.items() if content is not None}
            paths = {
                path: content
                for path, content in standing.items()
                if not any(other.startswith(f"{path}/") for other in standing)
            }
            remote.commit(
                {path: content for path, content in paths.items() if content != b"link"},
                links=[path for path, content in paths.items() if content == b"link"],
            )
            seen = snapshot(step.latest(None))
        whole = GitSource(GitSettings(url=str(remote.folder), state=folder / "whole"), SystemClock())
        stack.callback(whole.close)
        fresh = snapshot(whole.latest(None))
    assert (seen.files, seen.rejected) == (fresh.files, fresh.rejected)


# Over ssh.


def ssh_settings(port: int, key: Path, known_hosts: Path, remote: GitRemote) -> dict[str, object]:
    return {"url": f"ssh://127.0.0.1:{port}{remote.folder}", "ssh_key": key, "known_hosts": known_hosts}


@pytest.mark.real
@needs_sshd
def test_a_changed_host_key_is_refused(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1"})
    with sshd(tmp_path / "sshd") as (port, key, known_hosts):
        known_hosts.write_text(f"[127.0.0.1]:{port} {(tmp_path / 'sshd' / 'key.pub').read_text()}")
        answer = problem(opened(**ssh_settings(port, key, known_hosts, remote)).latest(None))
    assert answer.fault is SourceFault.REFUSED


@pytest.mark.real
@needs_sshd
def test_a_key_that_the_host_does_not_know_is_refused(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1"})
    with sshd(tmp_path / "sshd") as (port, _, known_hosts):
        answer = problem(opened(**ssh_settings(port, tmp_path / "sshd" / "host", known_hosts, remote)).latest(None))
    assert answer.fault is SourceFault.REFUSED


@pytest.mark.real
@needs_sshd
def test_a_host_that_hangs_is_left_in_time_and_found_again(tmp_path: Path, remote: GitRemote, opened: Open) -> None:
    remote.commit({"a.yaml": b"1"})
    limits = Limits(fetch=timedelta(seconds=1))
    with sshd(tmp_path / "sshd") as (port, key, known_hosts):
        source = opened(**ssh_settings(port, key, known_hosts, remote), limits=limits)
        good = snapshot(source.latest(None))
        sessions = frozen(tmp_path / "sshd")
        try:
            assert problem(source.latest(good.revision)).fault is SourceFault.UNREACHABLE
            left = [line for line in processes_with(str(tmp_path / "state")) if "cat-file" not in line]
            assert left == [], "neither git nor ssh nor the shared connection outlives the time-out"
        finally:
            for process in sessions:
                os.kill(process, signal.SIGCONT)
        assert source.latest(good.revision) is good


def frozen(folder: Path) -> list[int]:
    """Stop the sshd that was started in this folder with all its sessions; return them."""
    server = int((folder / "pid").read_text())
    found = [server]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    for process in found:
        os.kill(process, signal.SIGSTOP)
    return found


def test_ssh_needs_a_key_and_known_hosts(opened: Open) -> None:
    with pytest.raises(SourceConfigError, match="SSH key file and a known-hosts file"):
        opened(url="git@host.example:x.git")


@pytest.mark.parametrize(
    "path", ["relative/key", "/with space/key", "/with%h/key", "/with\nline/key", '/with"/key']
)
def test_a_path_that_ssh_would_read_differently_is_refused(opened: Open, path: str) -> None:
    with pytest.raises(SourceConfigError):
        opened(url="git@host.example:x.git", ssh_key=Path(path), known_hosts=Path("/etc/known"))
