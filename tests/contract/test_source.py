"""What every source promises, on the fake and on real Git by every way in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Protocol

import pytest

from reconciler.clock import SystemClock
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source.apart import Apart
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource
from reconciler.source.git_setup import GitSettings
from reconciler.source.limits import Limits
from reconciler.source.source import Source
from tests.fakes.source import FakeSource, blob_id
from tests.gitremote import GitRemote, http_server, make_certificate, needs, sshd

LIMITS = Limits(files=50, file_bytes=4096)


class World(Protocol):
    """What tests do to the other side of a source."""

    def commit(self, files: Mapping[str, bytes | None], *, links: Sequence[str] = ()) -> str: ...
    def unreachable(self) -> None: ...
    def heal(self) -> None: ...


class GitWorld(World, Protocol):
    """A world with a history."""

    def force_push(self, files: Mapping[str, bytes | None]) -> str: ...
    def push_back_to(self, revision: str) -> None: ...
    def delete_branch(self) -> None: ...
    def restore_branch(self) -> None: ...
    def lock(self, folder: str) -> None: ...


class RealWorld(GitRemote):
    """A remote that can be moved out of reach, or lose a folder."""

    _away: tuple[Path, Path]

    def unreachable(self) -> None:
        self._move(self.folder)

    def lock(self, folder: str) -> None:
        tree = self.git("rev-parse", f"main:{folder.rstrip('/')}")
        self._move(self.folder / "objects" / tree[:2] / tree[2:])

    def _move(self, path: Path) -> None:
        self._away = (path.with_suffix(".away"), path)
        path.rename(path.with_suffix(".away"))

    def heal(self) -> None:
        away, path = self._away
        away.rename(path)


class FolderWorld:
    """A folder that people write: each file is replaced in one step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def commit(self, files: Mapping[str, bytes | None], *, links: Sequence[str] = ()) -> str:
        for path in files.keys() | set(links):
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                (self._folder / path).unlink()
            for folder in (self._folder / path).parents:
                if folder != self._folder and folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        for path, content in files.items():
            if content is not None:
                (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / ".new").write_bytes(content)
                (self._folder / ".new").replace(self._folder / path)
        for path in links:
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / path).symlink_to("/etc/shadow")
        return "dir:of-any-content"

    def unreachable(self) -> None:
        self._folder.rename(self._folder.with_suffix(".away"))

    def heal(self) -> None:
        self._folder.with_suffix(".away").rename(self._folder)


Pair = tuple[Source, World]
GitPair = tuple[Source, GitWorld]


def _fake(tmp_path: Path, stack: ExitStack) -> GitPair:
    fake = FakeSource(LIMITS)
    return fake, fake


def _apart(tmp_path: Path, stack: ExitStack) -> GitPair:
    fake = FakeSource(LIMITS)
    apart = Apart(fake, SystemClock(), timedelta(seconds=30), lambda: None, Event())
    stack.callback(apart.close)
    return apart, fake


def _git(tmp_path: Path, stack: ExitStack, url: str, world: RealWorld, **settings: object) -> GitPair:
    git = GitSource(
        GitSettings(url=url, state=tmp_path / "state", limits=LIMITS, **settings),  # type: ignore[arg-type]  # a table
        SystemClock(),
    )
    stack.callback(git.close)
    return git, world


def _file(tmp_path: Path, stack: ExitStack) -> GitPair:
    world = RealWorld(tmp_path / "remote.git")
    return _git(tmp_path, stack, f"file://{world.folder}", world)


def _ssh(tmp_path: Path, stack: ExitStack) -> GitPair:
    world = RealWorld(tmp_path / "remote.git")
    port, key, known_hosts = stack.enter_context(sshd(tmp_path / "sshd"))
    return _git(
        tmp_path, stack, f"ssh://127.0.0.1:{port}{world.folder}", world, ssh_key=key, known_hosts=known_hosts
    )


def _https(tmp_path: Path, stack: ExitStack) -> GitPair:
    world = RealWorld(tmp_path / "remote.git")
    certificate = make_certificate(tmp_path)
    server = stack.enter_context(http_server(tmp_path, secret="s3cret", certificate=certificate))
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    url = f"https://127.0.0.1:{server.server_port}/remote.git"
    return _git(tmp_path, stack, url, world, token_file=token, ca_file=tmp_path / "tls.crt")


def _directory(tmp_path: Path, stack: ExitStack) -> Pair:
    world = FolderWorld(tmp_path / "desired")
    source = DirectorySource(tmp_path / "desired", SystemClock(), limits=LIMITS)
    stack.callback(source.close)
    return source, world


GIT_WAYS: list[object] = [
    pytest.param(_fake, id="fake"),
    pytest.param(_apart, id="apart"),
    pytest.param(_file, id="file"),
    pytest.param(_ssh, id="ssh", marks=[pytest.mark.real, needs("sshd", "ssh", "ssh-keygen")]),
    pytest.param(_https, id="https", marks=[pytest.mark.real, needs("openssl")]),
]


@pytest.fixture(params=[*GIT_WAYS, pytest.param(_directory, id="directory")])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    build: Callable[[Path, ExitStack], Pair] = request.param
    with ExitStack() as stack:
        yield build(tmp_path, stack)


@pytest.fixture(params=GIT_WAYS)
def git_pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GitPair]:
    build: Callable[[Path, ExitStack], GitPair] = request.param
    with ExitStack() as stack:
        yield build(tmp_path, stack)


def snapshot(answer: Snapshot | SourceProblem) -> Snapshot:
    assert isinstance(answer, Snapshot), answer
    return answer


def problem(answer: Snapshot | SourceProblem) -> SourceProblem:
    assert isinstance(answer, SourceProblem), answer
    return answer


def contents(source: Source, answer: Snapshot | SourceProblem) -> dict[str, bytes]:
    files = snapshot(answer).files
    found = source.read(list(files.values()))
    return {path: found[one] for path, one in files.items()}


def test_a_commit_is_seen_with_all_its_files(git_pair: GitPair) -> None:
    source, world = git_pair
    files = {"site.yaml": b"a: 1\n", "teams/rl/team.yml": b"", "teams/rl/jobs/ärger.yaml": b"\x00\xff no text\r\n"}
    revision = world.commit(dict(files))
    seen = snapshot(source.latest(None))
    assert seen.revision == revision
    assert contents(source, seen) == files
    assert seen.files["site.yaml"] == blob_id(b"a: 1\n")


def test_every_desired_file_is_seen_whole(pair: Pair) -> None:
    source, world = pair
    files = {"a.yaml": b"x" * 4096, "teams/rl/team.yml": b"", "teams/rl/jobs/a.yaml": b"\x00\r\n"}
    world.commit(dict(files))
    assert contents(source, source.latest(None)) == files


def test_nothing_new_gives_the_same_object(pair: Pair) -> None:
    source, world = pair
    world.commit({"a.yaml": b"1"})
    first = snapshot(source.latest(None))
    assert source.latest(first.revision) is first
    assert source.latest(None) is first


def test_a_change_touches_only_what_changed(pair: Pair) -> None:
    source, world = pair
    world.commit({"a.yaml": b"1", "b.yaml": b"2", "deep/c.yaml": b"3"})
    first = snapshot(source.latest(None))
    world.commit({"deep/c.yaml": b"4", "b.yaml": None, "deep/er/d.yaml": b"5"})
    second = snapshot(source.latest(first.revision))
    assert contents(source, second) == {"a.yaml": b"1", "deep/c.yaml": b"4", "deep/er/d.yaml": b"5"}
    assert first.files.keys() == {"a.yaml", "b.yaml", "deep/c.yaml"}, "an earlier snapshot never changes"


def test_many_commits_between_two_looks_are_one_change(git_pair: GitPair) -> None:
    source, world = git_pair
    world.commit({"a.yaml": b"0"})
    first = snapshot(source.latest(None))
    for number in range(1, 5):
        revision = world.commit({"a.yaml": b"%d" % number})
    seen = snapshot(source.latest(first.revision))
    assert (seen.revision, contents(source, seen)) == (revision, {"a.yaml": b"4"})


def test_a_file_may_turn_into_a_folder_and_back(pair: Pair) -> None:
    source, world = pair
    first = world.commit({"a.yaml": b"1"})
    source.latest(None)
    second = world.commit({"a.yaml": None, "a.yaml/b.yaml": b"2"})
    assert contents(source, source.latest(first)) == {"a.yaml/b.yaml": b"2"}
    world.commit({"a.yaml/b.yaml": None, "a.yaml": b"3"})
    assert contents(source, source.latest(second)) == {"a.yaml": b"3"}


def test_only_yaml_outside_of_dot_folders_is_desired(pair: Pair) -> None:
    source, world = pair
    world.commit(
        {
            "a.yaml": b"1",
            "README.md": b"x",
            ".github/workflows/ci.yml": b"x",
            "x/.hidden.yaml": b"x",
            "a.yaml~": b"x",
        }
    )
    seen = snapshot(source.latest(None))
    assert (set(seen.files), dict(seen.rejected)) == ({"a.yaml"}, {})


def test_a_link_harms_only_itself(pair: Pair) -> None:
    source, world = pair
    first = world.commit({"a.yaml": b"1", "b.yaml": b"2"})
    source.latest(None)
    second = world.commit({}, links=["b.yaml", "teams/b"])
    seen = snapshot(source.latest(first))
    assert contents(source, seen) == {"a.yaml": b"1"}
    assert set(seen.rejected) == {"b.yaml", "teams/b"}
    assert "symbolic link" in seen.rejected["b.yaml"]
    world.commit({"b.yaml": b"3", "teams/b": None})
    healed = snapshot(source.latest(second))
    assert (contents(source, healed), dict(healed.rejected)) == ({"a.yaml": b"1", "b.yaml": b"3"}, {})


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("teams/b/evil\u202elmay.yaml", "teams/b/evil\\u202elmay.yaml"),
        ("zero\u200bwidth.yaml", "zero\\u200bwidth.yaml"),
        ("new\nline.yaml", "new\\nline.yaml"),
        ("back\\slash.yaml", "back\\slash.yaml"),
        ("-option.yaml", "-option.yaml"),
        ("trailing /x.yaml", "trailing /x.yaml"),
        ("cr\r.yaml", "cr\\r.yaml"),
        ("SHOUT.YAML", "SHOUT.YAML"),
    ],
)
def test_a_name_that_deceives_is_rejected_and_spelled_out(pair: Pair, path: str, shown: str) -> None:
    source, world = pair
    world.commit({"a.yaml": b"1", path: b"2"})
    seen = snapshot(source.latest(None))
    assert (set(seen.files), set(seen.rejected)) == ({"a.yaml"}, {shown})


def test_a_file_that_is_too_large_harms_only_itself(pair: Pair) -> None:
    source, world = pair
    first = world.commit({"a.yaml": b"1", "b.yaml": b"x" * 4096})
    assert set(snapshot(source.latest(None)).files) == {"a.yaml", "b.yaml"}
    huge = b"x" * 4097
    world.commit({"b.yaml": huge})
    seen = snapshot(source.latest(first))
    assert (set(seen.files), set(seen.rejected)) == ({"a.yaml"}, {"b.yaml"})
    assert source.read([blob_id(huge), f"sha256:{sha256(huge).hexdigest()}"]) == {}
    assert contents(source, seen) == {"a.yaml": b"1"}


def test_too_many_files_are_a_problem_and_not_a_part_of_them(pair: Pair) -> None:
    source, world = pair
    first = world.commit({"a.yaml": b"1"})
    source.latest(None)
    second = world.commit({f"{number}.yaml": b"" for number in range(60)})
    answer = problem(source.latest(first))
    assert answer.fault is SourceFault.TOO_LARGE
    assert answer.revision in {second, None}
    world.commit({f"{number}.yaml": None for number in range(60)})
    assert contents(source, source.latest(first)) == {"a.yaml": b"1"}


def test_rewritten_history_is_held_until_the_revision_is_accepted(git_pair: GitPair) -> None:
    source, world = git_pair
    world.commit({"a.yaml": b"1"})
    applied = snapshot(source.latest(None))
    forced = world.force_push({"b.yaml": b"2"})
    for _ in range(2):
        answer = problem(source.latest(applied.revision))
        assert (answer.fault, answer.revision) == (SourceFault.REWRITTEN, forced)
    assert source.read(list(applied.files.values())) == {blob_id(b"1"): b"1"}, "the last good one stays readable"
    assert contents(source, source.latest(applied.revision, frozenset({forced}))) == {"b.yaml": b"2"}
    assert snapshot(source.latest(forced)).revision == forced


def test_going_back_to_an_earlier_revision_is_a_rewrite(git_pair: GitPair) -> None:
    source, world = git_pair
    first = world.commit({"a.yaml": b"1"})
    second = world.commit({"a.yaml": b"2"})
    source.latest(None)
    world.push_back_to(first)
    assert problem(source.latest(second)).fault is SourceFault.REWRITTEN
    assert snapshot(source.latest(first)).revision == first


def test_an_applied_revision_that_nobody_knows_is_a_rewrite(git_pair: GitPair) -> None:
    source, world = git_pair
    world.commit({"a.yaml": b"1"})
    assert problem(source.latest("f" * 40)).fault is SourceFault.REWRITTEN
    assert problem(source.latest("--all")).fault is SourceFault.REWRITTEN


def test_a_deleted_branch_is_a_problem_until_it_is_back(git_pair: GitPair) -> None:
    source, world = git_pair
    assert problem(source.latest(None)).fault is SourceFault.NO_BRANCH
    first = world.commit({"a.yaml": b"1"})
    good = snapshot(source.latest(None))
    world.delete_branch()
    assert problem(source.latest(first)).fault is SourceFault.NO_BRANCH
    world.restore_branch()
    assert source.latest(first) is good


def test_a_remote_out_of_reach_is_a_problem_until_it_is_back(pair: Pair) -> None:
    source, world = pair
    first = world.commit({"a.yaml": b"1"})
    good = snapshot(source.latest(None))
    world.unreachable()
    answer = problem(source.latest(first))
    assert answer.fault is SourceFault.UNREACHABLE
    assert contents(source, good) == {"a.yaml": b"1"}
    assert source.at(good.revision) is good
    world.heal()
    assert source.latest(first) is good


def test_an_empty_tree_is_never_the_end_of_everything(pair: Pair) -> None:
    source, world = pair
    first = world.commit({"a.yaml": b"1"})
    source.latest(None)
    second = world.commit({"a.yaml": None, "README.md": b"all gone"})
    answer = problem(source.latest(first))
    assert answer.fault is SourceFault.EMPTY
    assert answer.revision in {second, None}
    assert snapshot(source.latest(None)).files == {}


def test_ids_that_are_not_there_are_left_out(pair: Pair) -> None:
    source, world = pair
    world.commit({"a.yaml": b"1", "b.yaml": b"2"})
    a, b = snapshot(source.latest(None)).files.values()
    wrong = ["0" * 40, "--help", f"{a}\n{b}", "", "HEAD", "main:a.yaml", "é" * 100_000]
    assert set(source.read([a, *wrong, b, a]).values()) == {b"1", b"2"}
    assert source.read([]) == {}


def test_a_folder_that_cannot_be_read_is_a_problem_and_not_an_empty_folder(git_pair: GitPair) -> None:
    source, world = git_pair
    first = world.commit({"a.yaml": b"1", "teams/rl/b.yaml": b"2"})
    source.latest(None)
    second = world.commit({"teams/rl/b.yaml": b"3"})
    world.lock("teams/rl/")
    answer = problem(source.latest(first))
    assert answer.fault is SourceFault.CORRUPT
    assert answer.revision in {second, None}
    world.heal()
    assert contents(source, source.latest(first)) == {"a.yaml": b"1", "teams/rl/b.yaml": b"3"}


def test_a_revision_can_be_named_for_planning(git_pair: GitPair) -> None:
    source, world = git_pair
    first = world.commit({"a.yaml": b"1"})
    second = world.commit({"a.yaml": b"2"})
    source.latest(None)
    assert contents(source, source.at(first)) == {"a.yaml": b"1"}
    assert contents(source, source.at("main")) == {"a.yaml": b"2"}
    assert snapshot(source.latest(first)).revision == second


@pytest.mark.parametrize(
    "name",
    ["nothing", "f" * 40, "--upload-pack=touch /tmp/x;", "main~1", "main:a.yaml", "", "a\nb", "../x", "HEAD^{/x}"],
)
def test_a_revision_that_nobody_knows_is_a_problem(git_pair: GitPair, name: str) -> None:
    source, world = git_pair
    first = world.commit({"a.yaml": b"1"})
    source.latest(None)
    problem(source.at(name))
    assert contents(source, source.latest(first)) == {"a.yaml": b"1"}
