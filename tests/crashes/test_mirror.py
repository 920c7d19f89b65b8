"""A disk that fails under the mirror of the repo: what was in force stays, and nobody calls the repo damaged."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.model.snapshot import Snapshot, SourceFault, SourceProblem
from reconciler.source.git import GitSource
from reconciler.source.git_setup import GitSettings
from tests.crashes.disks import Fault, full, no_names, read_only
from tests.crashes.mortal import may_mount, mount
from tests.gitremote import GitRemote

pytestmark = pytest.mark.real


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if why := may_mount():
        pytest.skip(why)
    folder = tmp_path / "state"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m,nr_inodes=1k,mode=0700", "rayops-test", folder)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("fault", [full, no_names, read_only])
@pytest.mark.parametrize("begun", [True, False], ids=["with a mirror", "without one"])
def test_a_disk_that_fails_is_not_taken_for_a_damaged_repo(
    tmp_path: Path, disk: Path, fault: Fault, *, begun: bool
) -> None:
    remote = GitRemote(tmp_path / "remote.git")
    first = remote.commit({"a.yaml": b"1"})
    source = GitSource(GitSettings(url=str(remote.folder), state=disk), SystemClock())
    try:
        if begun:
            source.latest(None)
        second = remote.commit({"a.yaml": b"2" * 5000, "b.yaml": b"3"})
        with fault(disk):
            for _ in range(5):
                answer = source.latest(first if begun else None)
                assert isinstance(answer, SourceProblem)
                assert answer.fault is SourceFault.STORAGE
                assert "damaged" not in answer.message
                if begun:
                    assert isinstance(kept := source.at(first), Snapshot)
                    assert source.read(list(kept.files.values())) == {kept.files["a.yaml"]: b"1"}
        newest = source.latest(first if begun else None)
        assert isinstance(newest, Snapshot), newest
        assert newest.revision == second
    finally:
        source.close()
