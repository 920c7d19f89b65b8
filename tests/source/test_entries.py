import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.source.entries import Entry, Ignored, Rejected, Wanted, judge


@pytest.mark.parametrize("path", ["a.yaml", "teams/rl/jobs/ppo.yml", "ä/ö.yaml", "with space.yaml", "a.b.yaml"])
def test_plain_yaml_files_are_wanted(path: str) -> None:
    assert judge(path.encode(), Entry.FILE) == Wanted(path)


@pytest.mark.parametrize(
    "path", ["README.md", "yaml", "a.yaml.bak", ".git/x.yaml", "a/.x.yaml", "../x.yaml", "./x.yaml"]
)
def test_what_is_no_desired_file_is_ignored(path: str) -> None:
    assert judge(path.encode(), Entry.FILE) is Ignored.IGNORED


@pytest.mark.parametrize("entry", [Entry.LINK, Entry.SUBMODULE, Entry.SPECIAL, Entry.ODD])
def test_what_is_no_plain_file_is_rejected_under_any_name(entry: Entry) -> None:
    for path in ("a.yaml", "teams/b"):
        assert isinstance(judge(path.encode(), entry), Rejected)


@given(st.binary(min_size=1, max_size=200), st.sampled_from(Entry))
def test_every_name_is_judged_and_every_verdict_can_be_printed(path: bytes, entry: Entry) -> None:
    match judge(path, entry):
        case Wanted(name):
            assert name.isprintable()
            assert name.encode() == path
            assert not any(part.startswith((".", "-")) for part in name.split("/"))
        case Rejected(name, reason):
            assert name.isprintable()
            assert reason.isprintable()
        case _:
            pass
