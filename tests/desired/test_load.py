"""What is broken harms nobody else, and nothing is taken away because a file could not be understood."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired import yaml
from reconciler.desired.cache import FILE, MAX_PROBLEMS, Cache, program_digest
from reconciler.desired.check import problems
from reconciler.desired.load import Loader, load_tree
from reconciler.model.derived import Edition
from reconciler.model.desired import Desired
from reconciler.model.document import KINDS, from_json, identity
from reconciler.model.ids import ObjectId
from reconciler.model.snapshot import Snapshot
from reconciler.model.spec import spec_digest
from tests.calls import calls_of
from tests.fakes.files import FakeFiles
from tests.model.test_spec import CHANGES, document, with_field

HEAD = "apiVersion: rayops/v1\n"
SITE = (HEAD + "kind: Site\nmetadata: {name: site}\nspec: {}\n").encode()
BROKEN = b"a: [b"


def user(name: str, note: str = "") -> bytes:
    return f"{HEAD}kind: User\nmetadata: {{name: {name}}}\nspec: {{displayName: '{note}'}}\n".encode()


def job(name: str, team: str = "rl", rerun: int = 0) -> bytes:
    workload = "{type: command, argv: [x]}"
    spec = f"{{user: alice, pool: h20, workload: {workload}, rerun: {rerun}}}"
    return f"{HEAD}kind: Job\nmetadata: {{name: {name}, team: {team}}}\nspec: {spec}\n".encode()


def user_id(name: str) -> ObjectId:
    return ObjectId("User", "", name)


class Repo:
    """A tree of files that can be loaded; counts what is read and can refuse to give contents."""

    def __init__(self, state: FakeFiles | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.unreadable: set[str] = set()
        self.rejected: dict[str, str] = {}
        self.read_ids: list[str] = []
        # As a source gives them: it knows what has changed.
        self.listed: Edition[str, str] = Edition()
        self.loader = Loader(state)

    def load(self, **changes: bytes | None) -> Desired:
        return self.commit({f"{name}.yaml": content for name, content in changes.items()})

    def commit(self, changes: Mapping[str, bytes | None], *, keep: bool = True) -> Desired:
        for path, content in changes.items():
            if content is None:
                del self.files[path]
            else:
                self.files[path] = content
        self.read_ids.clear()
        desired = self.loader.load(self.snapshot(), self.read)
        if keep:
            self.loader.keep()
        return desired

    def snapshot(self) -> Snapshot:
        ids = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        revision = hashlib.sha256(repr(sorted(ids.items())).encode()).hexdigest()
        known = self.listed.keys() | ids.keys()
        changes = {path: ids.get(path) for path in known if self.listed.get(path) != ids.get(path)}
        self.listed = self.listed.next(changes)
        return Snapshot(revision, self.listed, dict(self.rejected))

    def read(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        self.read_ids += ids
        known = {hashlib.sha256(content).hexdigest(): content for content in self.files.values()}
        hidden = {hashlib.sha256(self.files[path]).hexdigest() for path in self.unreadable}
        return {content: known[content] for content in ids if content not in hidden}


def note(desired: Desired, name: str) -> tuple[str, bool]:
    loaded = desired.objects[user_id(name)]
    return loaded.document.spec.display_name, loaded.stale


def test_every_good_file_gives_one_object() -> None:
    desired = Repo().load(a=user("alice"), site=SITE)
    assert set(desired.objects) == {user_id("alice"), ObjectId("Site", "", "site")}
    assert desired.errors == ()
    assert desired.objects[user_id("alice")].path == "a.yaml"


def test_identity_is_in_the_document_and_not_in_the_path() -> None:
    repo = Repo()
    before = repo.load(a=user("alice"))
    after = repo.load(a=None, b=user("alice"))
    assert set(after.objects) == set(before.objects)
    assert after.objects[user_id("alice")].path == "b.yaml"
    assert repo.read_ids == []


def test_files_that_describe_nothing_are_left_alone() -> None:
    desired = Repo().commit({"README.md": b"{", ".github/ci.yml": b"{", "x.json": b"{"})
    assert desired == Desired(desired.revision, {})


def test_a_link_in_the_place_of_a_file_keeps_the_object_and_says_so() -> None:
    repo = Repo()
    repo.load(a=user("alice"), b=user("bob"))
    repo.rejected["a.yaml"] = "it is a symbolic link"
    desired = repo.commit({"a.yaml": None})
    assert note(desired, "alice") == ("", True)
    assert note(desired, "bob") == ("", False)
    assert [str(error) for error in desired.errors] == [
        "a.yaml:1:1: it is a symbolic link (put a regular file in its place)"
    ]
    repo.rejected.clear()
    assert note(repo.load(a=user("alice", "again")), "alice") == ("again", False)


def test_a_link_in_the_place_of_a_folder_keeps_what_was_in_it() -> None:
    repo = Repo()
    path = "teams/rl/team.yaml"
    team = f"{HEAD}kind: Team\nmetadata: {{name: rl}}\nspec: {{members: []}}\n".encode()
    before = repo.commit({path: team, "a.yaml": user("alice")})
    repo.rejected["teams/rl"] = "it is a symbolic link"
    desired = repo.commit({path: None})
    assert set(desired.objects) == set(before.objects)
    assert desired.unsettled == {"rl"}
    repo.commit({"a.yaml": user("alice", "later")})
    assert set(repo.loader.load(repo.snapshot(), repo.read).objects) == set(before.objects)


def test_a_folder_that_became_a_link_is_in_force_after_a_restart_too() -> None:
    state = FakeFiles()
    repo = Repo(state)
    path = "teams/rl/team.yaml"
    team = f"{HEAD}kind: Team\nmetadata: {{name: rl}}\nspec: {{members: []}}\n".encode()
    repo.commit({path: team, "a.yaml": user("alice")})
    repo.rejected["teams/rl"] = "it is a symbolic link"
    before = repo.commit({path: None})
    repo.loader = Loader(state)
    assert repo.commit({}) == before
    assert before.unsettled == {"rl"}


@pytest.mark.parametrize(
    ("link", "hidden", "seen"),
    [
        ("teams", [ObjectId("Job", "rl", "a"), ObjectId("Team", "", "rl")], []),
        ("teams/rl", [ObjectId("Job", "rl", "a"), ObjectId("Team", "", "rl")], [user_id("alice")]),
        ("teams/rl/jobs", [ObjectId("Job", "rl", "a")], [ObjectId("Job", "nlp", "a")]),
        ("users", [user_id("alice")], [ObjectId("Job", "rl", "a")]),
    ],
)
def test_a_usual_folder_that_is_a_link_hides_what_may_be_in_it_although_nothing_is_remembered(
    link: str, hidden: list[ObjectId], seen: list[ObjectId]
) -> None:
    repo = Repo()
    repo.rejected[link] = "it is a symbolic link"
    desired = repo.commit({"site.yaml": SITE})
    assert [error.path for error in desired.errors] == [link]
    assert all(map(desired.hides, hidden))
    assert not any(map(desired.hides, seen))


def test_a_link_in_the_place_of_all_teams_keeps_what_they_have() -> None:
    repo = Repo()
    before = repo.commit(
        {"teams/rl/a.yaml": job("a"), "teams/nlp/b.yaml": job("b", "nlp"), "c.yaml": user("carol")}
    )
    repo.rejected["teams"] = "it is a symbolic link"
    assert repo.commit({"teams/rl/a.yaml": None, "teams/nlp/b.yaml": None}).objects.keys() == before.objects.keys()
    assert repo.commit({"c.yaml": None}).objects.keys() == before.objects.keys()
    repo.rejected.clear()
    assert repo.commit({"d.yaml": user("dora")}).objects.keys() == {user_id("dora")}


def test_links_that_replace_no_document_are_nobodys_business() -> None:
    repo = Repo()
    repo.rejected["docs"] = "it is a symbolic link"
    desired = repo.load(a=user("alice"))
    assert desired.errors == ()
    assert desired.unsettled == frozenset()


def test_links_cost_no_more_than_their_number() -> None:
    def cost(size: int) -> int:
        repo = Repo()
        repo.commit({f"docs/{number}.yaml": user(f"u{number}") for number in range(size)})
        repo.rejected = {f"link-{number}": "it is a symbolic link" for number in range(size)}
        return calls_of(lambda: repo.load(a=user("alice")))

    assert cost(200) < cost(100) * 2.3


def test_only_changed_files_are_read() -> None:
    repo = Repo()
    repo.load(a=user("alice"), b=user("bob"))
    assert len(repo.read_ids) == 2
    repo.load(a=user("alice", "again"))
    assert len(repo.read_ids) == 1


def test_nothing_changed_gives_the_same_objects_without_reading() -> None:
    repo = Repo()
    before = repo.load(a=user("alice"), b=BROKEN)
    after = repo.load()
    assert after == before
    assert after.objects is before.objects
    assert repo.read_ids == []


def test_a_broken_file_keeps_its_last_good_object_and_harms_nobody_else() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"), b=user("bob", "old"))
    desired = repo.load(a=BROKEN, b=user("bob", "new"))
    assert note(desired, "alice") == ("old", True)
    assert note(desired, "bob") == ("new", False)
    assert [error.path for error in desired.errors] == ["a.yaml"]
    mended = repo.load(a=user("alice", "new"))
    assert note(mended, "alice") == ("new", False)
    assert mended.errors == ()


def test_removing_a_broken_file_removes_its_object() -> None:
    repo = Repo()
    repo.load(a=user("alice"))
    repo.load(a=BROKEN)
    assert not repo.load(a=None).objects


def test_content_that_cannot_be_read_keeps_the_last_good_and_is_tried_again() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"))
    repo.unreadable = {"a.yaml"}
    desired = repo.load(a=user("alice", "new"))
    assert note(desired, "alice") == ("old", True)
    assert desired.errors[0].path == "a.yaml"
    repo.unreadable.clear()
    assert note(repo.load(), "alice") == ("new", False)


def test_unreadable_content_that_is_gone_is_no_error_any_more() -> None:
    repo = Repo()
    repo.files["a.yaml"] = user("alice")
    repo.unreadable = {"a.yaml"}
    assert repo.load().errors
    repo.unreadable.clear()
    assert repo.load(a=None).errors == ()


def test_one_object_in_two_files_refuses_both_changes() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"))
    desired = repo.load(a=user("alice", "mine"), b=user("alice", "yours"))
    assert note(desired, "alice") == ("old", True)
    assert [str(error) for error in desired.errors] == [
        "a.yaml:1:1: metadata.name: user/alice is described in b.yaml too (keep one of the files)",
        "b.yaml:1:1: metadata.name: user/alice is described in a.yaml too (keep one of the files)",
    ]
    assert note(repo.load(a=None), "alice") == ("yours", False)


def test_an_unchanged_file_stays_good_when_another_claims_its_object() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"))
    desired = repo.load(b=user("alice", "yours"))
    assert note(desired, "alice") == ("old", False)
    assert len(desired.errors) == 2


def test_a_move_into_two_files_removes_nothing() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"))
    assert note(repo.load(a=None, b=user("alice", "b"), c=user("alice", "c")), "alice") == ("old", True)
    assert note(repo.load(c=None), "alice") == ("b", False)


def test_two_new_files_with_one_object_give_none() -> None:
    desired = Repo().load(a=user("alice"), b=user("alice"))
    assert not desired.objects
    assert len(desired.errors) == 2


def test_a_rename_into_a_broken_file_removes_nothing() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"))
    desired = repo.load(a=None, b=BROKEN)
    assert note(desired, "alice") == ("old", True)
    assert desired.unsettled == {""}
    assert note(repo.load(b=user("alice", "new")), "alice") == ("new", False)


def test_a_rename_into_a_broken_file_is_over_when_that_file_is_gone() -> None:
    repo = Repo()
    repo.load(a=user("alice", "old"))
    repo.load(a=None, b=BROKEN)
    assert not repo.load(b=None).objects


def test_a_new_broken_file_of_one_team_holds_nothing_of_another() -> None:
    repo = Repo()
    repo.commit({"teams/rl/a.yaml": job("a"), "teams/vision/b.yaml": job("b", "vision")})
    desired = repo.commit({"teams/rl/new.yaml": BROKEN, "teams/rl/a.yaml": None, "teams/vision/b.yaml": None})
    assert set(desired.objects) == {ObjectId("Job", "rl", "a")}
    assert desired.unsettled == {"rl"}
    assert desired.lingering == {ObjectId("Job", "rl", "a")}
    assert repo.commit({"teams/rl/new.yaml": job("new")}).lingering == frozenset()


def test_what_a_file_describes_does_not_linger_however_broken_it_is() -> None:
    repo = Repo()
    repo.load(a=user("alice"), b=user("bob"))
    desired = repo.load(a=BROKEN, c=user("bob"), d=BROKEN)
    assert [note(desired, name)[1] for name in ("alice", "bob")] == [True, False]
    assert desired.lingering == frozenset()


def test_a_job_in_the_folder_of_another_team_is_refused() -> None:
    repo = Repo()
    repo.commit({"teams/rl/a.yaml": job("a", rerun=1)})
    desired = repo.commit({"teams/vision/a.yaml": job("a", rerun=2)})
    assert desired.objects[ObjectId("Job", "rl", "a")].document.spec.rerun == 1
    assert [error.path for error in desired.errors] == ["teams/vision/a.yaml"]


def test_too_many_files_change_nothing() -> None:
    repo = Repo()
    repo.loader = Loader(max_objects=3)
    repo.load(a=user("alice"))
    desired = repo.load(b=user("b"), c=user("c"), d=user("d"))
    assert set(desired.objects) == {user_id("alice")}
    assert "more than 3" in desired.errors[0].message
    assert desired.hides(ObjectId("Job", "gone", "j"))
    assert len(repo.load(d=None).objects) == 3


def test_a_tree_is_checked_without_memory() -> None:
    desired = load_tree({"a.yaml": user("alice"), "b.yaml": BROKEN, "c.yaml": user("alice")})
    assert [error.path for error in desired.errors] == ["a.yaml", "b.yaml", "c.yaml"]


def test_after_a_restart_nothing_good_is_read_again() -> None:
    state = FakeFiles()
    repo = Repo(state)
    before = repo.commit({"a.yaml": user("alice"), "teams/rl/b.yaml": job("b")})
    repo.loader = Loader(state)
    after = repo.commit({})
    assert after == before
    assert repo.read_ids == []


def test_the_last_good_object_survives_a_restart() -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.load(a=user("alice", "old"), b=user("bob"))
    repo.load(a=BROKEN)
    repo.loader = Loader(state)
    assert note(repo.load(), "alice") == ("old", True)


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, unique=True), st.data())
@settings(max_examples=50, deadline=None)
def test_what_a_restart_remembers_is_what_the_files_say(kinds: list[str], data: st.DataObject) -> None:
    state = FakeFiles()
    repo = Repo(state)
    files = {}
    for number, kind in enumerate(kinds):
        plain = document(kind)
        for path in data.draw(st.lists(st.sampled_from(sorted(CHANGES[kind])), max_size=6)):
            with_field(plain, path, CHANGES[kind][path])
        plain["metadata"] |= {"labels": {"number": f"n{number}"}} | (
            {} if kind == "Site" else {"name": f"x{number}"}
        )
        folder = "teams/rl/" if kind == "Job" else ""
        files[f"{folder}{number}.yaml"] = orjson.dumps(plain)
    parsed = repo.commit(files)
    repo.loader = Loader(state)
    recalled = repo.commit({})
    assert recalled == parsed
    assert repo.read_ids == []
    for each in recalled.objects.values():
        assert each.document == from_json(orjson.dumps(yaml.read(repo.files[each.path])))
        assert each.digest == spec_digest(each.document)
        assert each.id == identity(each.document)


def test_a_restart_finds_the_same_problems_and_makes_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    state = FakeFiles()
    repo = Repo(state)
    before = repo.commit({"teams/rl/a.yaml": job("a"), "alice.yaml": user("alice")})
    assert set(before.problems) == {ObjectId("Job", "rl", "a")}
    with monkeypatch.context() as patched:
        patched.setattr("reconciler.model.desired.from_json", None)
        repo.loader = Loader(state)
        assert repo.commit({}) == before
    after = repo.commit({"teams/rl/b.yaml": job("b")})
    assert after.problems == problems(after.objects)
    assert set(after.problems) == {ObjectId("Job", "rl", "a"), ObjectId("Job", "rl", "b")}


def test_problems_that_are_too_many_to_keep_are_found_again() -> None:
    state = FakeFiles()
    repo = Repo(state)
    before = repo.commit({f"teams/rl/{number}.yaml": job(f"j-{number}") for number in range(MAX_PROBLEMS + 1)})
    assert Cache(state).load().problems is None
    repo.loader = Loader(state)
    assert repo.commit({}).problems == before.problems == problems(before.objects)


def test_an_entry_that_was_refused_and_is_gone_takes_its_object_along() -> None:
    repo = Repo()
    repo.load(a=user("alice"), b=user("bob"))
    repo.rejected = {"a.yaml": "it is a link"}
    stale = repo.load(a=None)
    assert set(stale.objects) == {user_id("alice"), user_id("bob")}
    assert stale.errors
    repo.rejected = {}
    gone = repo.commit({})
    assert set(gone.objects) == {user_id("bob")}
    assert gone.errors == ()


def test_an_object_removed_while_the_daemon_was_down_is_gone() -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.load(a=user("alice"), b=user("bob"))
    repo.loader = Loader(state)
    assert set(repo.load(a=None).objects) == {user_id("bob")}
    repo.loader = Loader(state)
    assert set(repo.load().objects) == {user_id("bob")}


@pytest.mark.parametrize(
    ("first", "second"), [("alice", "bob"), ("bob", "alice"), ("carol", "dora"), ("dora", "carol")]
)
def test_a_file_that_two_objects_came_from_keeps_both_while_it_is_broken(first: str, second: str) -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.load(a=user(first))
    repo.load(a=user(second), b=BROKEN)
    repo.loader = Loader(state)
    assert set(repo.load(a=BROKEN, b=None).objects) == {user_id(first), user_id(second)}


def test_many_changes_do_not_grow_the_cache_for_ever() -> None:
    state = FakeFiles()
    repo = Repo(state)
    for number in range(2500):
        repo.load(a=user("alice", str(number)))
    content = state.read(FILE, limit=1 << 30)
    assert content is not None
    assert content.count(b'"kind":"User"') < 1100
    repo.loader = Loader(state)
    assert note(repo.load(), "alice") == ("2499", False)
    assert repo.read_ids == []


def test_a_cache_of_another_model_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    state = FakeFiles()
    repo = Repo(state)
    before = repo.load(a=user("alice"))
    monkeypatch.setattr("reconciler.desired.cache.program_digest", lambda: "another")
    repo.loader = Loader(state)
    assert repo.load() == before
    assert len(repo.read_ids) == 1


def test_a_damaged_cache_costs_one_parse_and_is_whole_again() -> None:
    state = FakeFiles()
    repo = Repo(state)
    before = repo.load(a=user("alice"), b=user("bob"))
    content = state.read(FILE, limit=1 << 30)
    assert content is not None
    state.write(FILE, content[:-30] + b"x" + content[-29:])
    for reads in (2, 0):
        repo.loader = Loader(state)
        assert repo.load() == before
        assert len(repo.read_ids) == reads


def test_a_cache_that_a_crash_cut_costs_the_last_change_only() -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.load(a=user("alice", "old"), b=user("bob"))
    before = state.read(FILE, limit=1 << 30)
    after = repo.load(a=user("alice", "new"))
    whole = state.read(FILE, limit=1 << 30)
    assert before is not None
    assert whole is not None
    for cut in range(len(before) + 1, len(whole)):
        state.write(FILE, whole[:cut])
        repo.loader = Loader(state)
        assert repo.load() == after
        assert len(repo.read_ids) == 1
        assert state.read(FILE, limit=1 << 30) != whole[:cut]


def test_the_cache_of_other_code_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reader.py").write_text("one way to read")
    monkeypatch.setattr("reconciler.desired.cache.resources.files", lambda _: tmp_path)
    state = FakeFiles()
    for reads, code in ((1, "one way to read"), (0, "one way to read"), (1, "another way")):
        (tmp_path / "reader.py").write_text(code)
        program_digest.cache_clear()
        repo = Repo(state)
        assert note(repo.load(a=user("alice", "x")), "alice") == ("x", False)
        assert len(repo.read_ids) == reads
    program_digest.cache_clear()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_cache_never_gives_a_wrong_object(data: st.DataObject) -> None:
    state = FakeFiles()
    repo = Repo(state)
    before = repo.load(a=user("alice", "a"), b=user("bob", "b"), c=user("carol", "c"))
    content = state.read(FILE, limit=1 << 30)
    assert content is not None
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    state.write(FILE, content[:start] + data.draw(st.binary(max_size=8)) + content[end:])
    repo.loader = Loader(state)
    assert repo.load() == before


def _lines(state: FakeFiles) -> list[bytes]:
    content = state.read(FILE, limit=1 << 30)
    assert content is not None
    return content.splitlines(keepends=True)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda lines: [*lines[:2], *lines[3:]], id="a line is missing"),
        pytest.param(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], id="two lines change places"),
        pytest.param(lambda lines: [*lines, lines[1]], id="an old line is there again"),
        pytest.param(lambda lines: [lines[0], b"x" + lines[1], *lines[2:]], id="a line is changed"),
    ],
)
def test_a_damaged_cache_is_thrown_away_whole_and_written_anew(spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.load(a=user("alice", "1"), b=user("bob"))
    repo.load(a=user("alice", "2"))
    repo.load(b=None)
    state.write(FILE, b"".join(spoil(_lines(state))))
    assert Cache(state).load().objects == {}
    repo.loader = Loader(state)
    repo.load()
    assert set(Cache(state).load().objects) == {user_id("alice")}


def test_a_torn_last_line_costs_one_word_and_is_written_anew() -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.load(a=user("alice", "1"))
    repo.load(a=user("alice", "2"), b=user("bob"))
    *whole, last = _lines(state)
    state.write(FILE, b"".join([*whole, last[:-9]]))
    repo.loader = Loader(state)
    repo.load(c=user("carol"))
    assert set(Cache(state).load().objects) == {user_id("alice"), user_id("bob"), user_id("carol")}


def test_a_daemon_that_was_overtaken_spoils_no_cache() -> None:
    state = FakeFiles()
    former = Repo(state)
    former.load(a=user("alice", "1"))
    leader = Repo(state)
    leader.load(a=user("alice", "1"), b=user("bob"))
    for number in range(3):
        former.load(a=user("alice", f"former {number}"))
        leader.load(b=user("bob", f"leader {number}"))
        kept = Cache(state).load().objects
        assert set(kept) == {user_id("alice"), user_id("bob")}
        assert f"leader {number}".encode() in kept[user_id("bob")].written


@pytest.mark.parametrize("spoil", [lambda state: state.remove(FILE), lambda _: None], ids=["no cache", "a cache"])
def test_what_two_files_describe_has_not_left_although_nothing_is_remembered(
    spoil: Callable[[FakeFiles], None],
) -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.commit({"teams/rl/a.yaml": job("a"), "teams/nlp/b.yaml": job("b", "nlp"), "c.yaml": user("carol")})
    repo.commit({"teams/rl/copy.yaml": job("a"), "copy.yaml": user("carol")})
    spoil(state)
    repo.loader = Loader(state)
    desired = repo.commit({})
    for who in (ObjectId("Job", "rl", "a"), user_id("carol")):
        assert who in desired.objects or who.team in desired.unsettled
    assert "nlp" not in desired.unsettled
    assert repo.commit({"teams/rl/copy.yaml": None, "copy.yaml": None}).unsettled == frozenset()


PATHS = ["a.yaml", "b.yaml", "teams/rl/c.yaml", "teams/rl/d.yaml"]
contents = st.sampled_from(
    [None, BROKEN, user("alice", "1"), user("alice", "2"), user("bob"), job("x"), job("x", rerun=1)]
)
commits = st.lists(st.dictionaries(st.sampled_from(PATHS), contents, min_size=1), min_size=1, max_size=6)


@given(commits, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_an_object_goes_only_when_every_file_is_understood(
    history: list[dict[str, bytes | None]], chance: random.Random
) -> None:
    state = FakeFiles()
    repo = Repo(state)
    before: set[ObjectId] = set()
    for changes in history:
        if chance.random() < 0.3:
            repo.loader = Loader(state)
        desired = repo.commit({path: new for path, new in changes.items() if new is not None or path in repo.files})
        described = set(load_tree(repo.files).objects)
        assert described <= set(desired.objects)
        for gone in before - set(desired.objects):
            assert gone.team not in desired.unsettled
        assert (
            all(loaded.stale for who, loaded in desired.objects.items() if who not in described) or desired.errors
        )
        assert bool(desired.errors) == bool(load_tree(repo.files).errors)
        assert desired.problems == problems(desired.objects)
        if not desired.errors:
            assert desired.objects == load_objects(repo)
        before = set(desired.objects)


# Few files and few words, so that files come back, break and swap their objects.
of_one_team = st.lists(
    st.dictionaries(
        st.sampled_from([f"teams/rl/{name}.yaml" for name in "abc"]),
        st.sampled_from([None, BROKEN, job("x"), job("y"), job("y", rerun=1)]),
        min_size=1,
        max_size=2,
    ),
    min_size=3,
    max_size=8,
)


@given(of_one_team | commits, st.integers(0, 1), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_restart_lets_anything_go(
    history: list[dict[str, bytes | None]], behind: int, is_remembered: bool
) -> None:
    state = FakeFiles()
    steady, snapshots = Repo(state), []
    for number, changes in enumerate(history, 1):
        possible = {path: new for path, new in changes.items() if new is not None or path in steady.files}
        steady.commit(possible, keep=number <= len(history) - behind)
        snapshots.append((steady.snapshot(), dict(steady.files)))
    if not is_remembered:
        state.remove(FILE)
    restarted = Repo(state)
    # What was applied, and what came since if that could not be written down any more.
    for snapshot, files in snapshots[-1 - behind :]:
        restarted.files = files
        desired = restarted.loader.load(snapshot, restarted.read)
    for who, loaded in steady.loader.load(snapshots[-1][0], steady.read).objects.items():
        kept = desired.objects.get(who)
        assert desired.hides(who) if kept is None else kept.digest == loaded.digest or not is_remembered


def test_what_was_never_written_down_is_not_remembered() -> None:
    state = FakeFiles()
    repo = Repo(state)
    good = repo.load(a=user("alice", "one")).objects
    assert repo.load(a=user("alice", "two"), b=user("alice", "three")).objects[user_id("alice")].stale
    applied, files = repo.snapshot(), dict(repo.files)
    del repo.files["b.yaml"]
    assert repo.loader.load(repo.snapshot(), repo.read).objects[user_id("alice")] != good[user_id("alice")]
    # The daemon dies before the ledger knows of that revision.
    repo.loader, repo.files = Loader(state), files
    (kept,) = repo.loader.load(applied, repo.read).objects.values()
    assert kept.digest == good[user_id("alice")].digest


def test_a_file_that_comes_back_broken_may_be_any_other_after_a_restart_too() -> None:
    state = FakeFiles()
    repo = Repo(state)
    repo.commit({"teams/rl/a.yaml": job("a"), "teams/rl/b.yaml": job("b"), "teams/rl/new.yaml": BROKEN})
    repo.commit({"teams/rl/a.yaml": None})
    repo.commit({"teams/rl/a.yaml": BROKEN, "teams/rl/new.yaml": None})
    kept = repo.commit({"teams/rl/b.yaml": None})
    assert kept.lingering == {ObjectId("Job", "rl", "a"), ObjectId("Job", "rl", "b")}
    repo.loader = Loader(state)
    assert repo.commit({}).lingering == kept.lingering


class CutShort(Exception):
    """Something that ends a load in the midst of it."""


@given(commits, st.lists(st.sampled_from(["", "read", "check"]), min_size=6, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_load_that_was_cut_short_is_done_again_as_a_whole(
    history: list[dict[str, bytes | None]], cuts: list[str]
) -> None:
    cut, whole = Repo(), Repo()
    for changes, where in zip(history, cuts, strict=False):
        wanted = whole.commit(
            {path: new for path, new in changes.items() if new is not None or path in whole.files}
        )
        cut.files = whole.files
        snapshot, checks = cut.snapshot(), cut.loader._checks
        if where:
            cut.loader._checks = Cut() if where == "check" else checks  # type: ignore[assignment]
            with suppress(CutShort):
                cut.loader.load(snapshot, cut.read if where == "check" else cuts_short)
            cut.loader._checks = checks
        assert cut.loader.load(snapshot, cut.read) == wanted


class Cut:
    """Checks that never come to an end."""

    def update(self, *_: object) -> None:
        raise CutShort


def cuts_short(_: Sequence[str]) -> Mapping[str, bytes]:
    raise CutShort


def load_objects(repo: Repo) -> Mapping[ObjectId, object]:
    fresh = Loader()
    return fresh.load(repo.snapshot(), repo.read).objects
