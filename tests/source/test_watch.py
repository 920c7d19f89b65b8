import os
from pathlib import Path
from threading import Event

import pytest

from reconciler.source import mounts
from reconciler.source.watch import Watch, references_of
from tests.gitremote import GitRemote

# A watch needs about 50 ms to begin: writes are repeated until one of them is seen.
PATIENCE = 100


def seen(changed: Event, write: object) -> bool:
    assert callable(write)
    for number in range(PATIENCE):
        write(number)
        if changed.wait(0.1):
            return True
    return False


def test_a_write_on_a_local_disk_wakes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    changed = Event()
    watch = Watch(tmp_path, changed.set)
    assert watch.start() == ""
    try:
        assert seen(changed, lambda number: (tmp_path / "deep" / "a.yaml").write_text(str(number)))
    finally:
        watch.close()


def test_a_push_to_a_local_repository_wakes(tmp_path: Path) -> None:
    remote = GitRemote(tmp_path / "remote.git")
    changed = Event()
    watch = Watch(references_of(remote.folder), changed.set)
    assert watch.start() == ""
    try:
        assert seen(changed, lambda number: remote.commit({"a.yaml": b"%d" % number}))
    finally:
        watch.close()


@pytest.mark.parametrize("name", ["nfs4", "gpfs", "lustre", "fuse.sshfs", "ceph", "cifs", "9p", "brandnewfs"])
def test_a_network_file_system_is_not_watched_and_says_so(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "36 35 98:0 / / rw,noatime - ext4 /dev/root rw\n"
        f"37 36 0:42 / {tmp_path}/with\\040space rw shared:1 - {name} server:/export rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTS", table)
    share = tmp_path / "with space" / "desired"
    share.mkdir(parents=True)
    watch = Watch(share, Event().set)
    assert name in watch.start()
    watch.close()
    assert Watch(tmp_path, Event().set).start() == ""


def test_the_mount_that_hides_another_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        f"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / {tmp_path} rw - nfs b rw\n3 2 8:3 / {tmp_path} rw - xfs c rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTS", table)
    assert mounts.file_system(tmp_path / "x") == "xfs"
    assert mounts.file_system(Path(f"{tmp_path}x")) == "ext4", "a longer name is another folder"
    assert mounts.is_local(tmp_path)


def test_a_missing_folder_is_not_watched(tmp_path: Path) -> None:
    assert "not a folder" in Watch(tmp_path / "nothing", Event().set).start()


def test_the_real_mount_table_is_understood() -> None:
    assert mounts.file_system(Path("/proc/self")) == "proc"
    assert mounts.file_system(Path(os.sep)) != "unknown"
