"""Which keys a host may show, as OpenSSH reads the same file."""

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.remote.known_hosts import KnownHosts, NotTrusted, fingerprint, require_private

# Any 32 bytes are a public key; nobody has the private halves of these.
ONE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFqx4HUZbzoXqwdJdpWFsECfhASELzQLDoC3vXBvBZ8G"
TWO = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAv3mUjmv0cSGwVcbYUgVBpyAQhtDzh8sSjmdgE5zmFP"


def lookup(tmp_path: Path, text: str, host: str = "node-1", port: int = 22) -> list[str]:
    path = tmp_path / "known_hosts"
    path.write_text(text)
    path.chmod(0o644)
    names = {ONE.split()[1]: "one", TWO.split()[1]: "two"}
    return [names[base64.b64encode(key).decode()] for _, key in KnownHosts(path).keys(host, port)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"node-1 {ONE}", ["one"]),
        (f"NODE-1 {ONE} comment", ["one"]),
        (f"other,node-1\t{ONE}\r\n", ["one"]),
        (f"node-1 {ONE}\nnode-1 {TWO}", ["one", "two"]),
        (f"[node-1]:22 {ONE}", []),
        (f"[node-1]:2222 {ONE}", []),
        (f"node-11 {ONE}", []),
        (f"# node-1 {ONE}", []),
        (f"node-1 {ONE}\n@revoked * {ONE}", []),
        (f"@revoked node-9 {ONE}\nnode-1 {ONE}\nnode-1 {TWO}", ["two"]),
        (f"@cert-authority node-1 {ONE}", []),
        (f"* {ONE}", []),
        ("node-1 ssh-ed25519 !!!", []),
        ("node-1", []),
        (f"|1|x {ONE}\n|1|a|b|c {ONE}\n|1||| {ONE}\nnode-1 {TWO}", ["two"]),
        ("\0\xff" * 50, []),
    ],
)
def test_a_line_counts_only_for_the_host_it_names(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert lookup(tmp_path, text) == expected


def test_another_port_is_another_host(tmp_path: Path) -> None:
    text = f"node-1 {ONE}\n[node-1]:2222 {TWO}"
    assert lookup(tmp_path, text, port=2222) == ["two"]
    assert lookup(tmp_path, text) == ["one"]


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
def test_hashed_names_are_found(tmp_path: Path) -> None:
    path = tmp_path / "hashed"
    path.write_text(f"node-1 {ONE}\n[node-1]:2222 {TWO}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    text = path.read_text()
    assert "node-1" not in text
    assert lookup(tmp_path, text) == ["one"]
    assert lookup(tmp_path, text, port=2222) == ["two"]
    assert lookup(tmp_path, text, host="node-2") == []


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"node-1 {ONE}\n")
    known = KnownHosts(path)
    before = known.keys("node-1", 22)
    path.write_text(f"node-1 {TWO}\n")
    assert before != known.keys("node-1", 22) != ()


def test_a_missing_list_and_one_of_strangers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotTrusted, match="ssh-keyscan"):
        KnownHosts(tmp_path / "none").keys("node-1", 22)
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotTrusted, match="regular file"):
        KnownHosts(tmp_path / "folder").keys("node-1", 22)
    if os.geteuid() == 0:
        (tmp_path / "theirs").write_text(f"node-1 {ONE}\n")
        os.chown(tmp_path / "theirs", 12345, 12345)
        with pytest.raises(NotTrusted, match="another user"):
            KnownHosts(tmp_path / "theirs").keys("node-1", 22)
        with pytest.raises(NotTrusted, match="another user"):
            require_private(tmp_path / "theirs")


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
def test_a_fingerprint_is_the_one_that_openssh_prints(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(ONE + "\n")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], check=True, capture_output=True)
    assert fingerprint(base64.b64decode(ONE.split()[1])) in shown.stdout.decode()
