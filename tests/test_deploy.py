"""What is installed: example settings, the unit, the installer, the forced command on machines."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reconciler.cli.parser import split
from reconciler.cli.verbs import verb_named
from reconciler.config import read_settings
from reconciler.remote.command import LOADER, GateCommand
from reconciler.remote.ssh import _KILL_AFTER
from tests.gateprogram import packed, sha256_of
from tests.test_docs import SECTIONS

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
EXAMPLE = (DEPLOY / "rayops.toml").read_text()
UNIT = (DEPLOY / "rayops.service").read_text()
INSTALLER = DEPLOY / "install.sh"


def test_the_example_settings_can_be_used_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "rayops.toml"
    file.write_text(EXAMPLE)
    assert read_settings(file).machines.transport == "ssh"


def test_the_example_shows_every_setting_with_its_default(tmp_path: Path) -> None:
    file = tmp_path / "rayops.toml"
    # Taking the marks off changes nothing, but for the two settings that only one of can be given.
    shown = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE, flags=re.MULTILINE)
    with_all = tomllib.loads(shown)
    assert {name: set(section) for name, section in with_all.items()} == {
        name: {each.name for each in dataclasses.fields(kind)} for name, kind in SECTIONS.items()
    }
    file.write_text(re.sub(r"^(directory|token_file) = .*$", "", shown, flags=re.MULTILINE))
    spelled_out = read_settings(file)
    file.write_text(EXAMPLE)
    assert spelled_out == read_settings(file)


def test_the_unit_starts_what_there_is() -> None:
    command = re.search(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert command
    program, *words = command[1].split()
    before, name, after = split(words)
    assert verb_named(name) is not None
    assert (before, after) == (["--config", "/etc/rayops/rayops.toml"], [])
    assert program == "/opt/rayops/current/bin/rayops", "where install.sh puts it"


PIPELINES = (".github/workflows/validate.yaml", ".gitea/workflows/validate.yaml", ".gitlab-ci.yml")
TEMPLATE = DEPLOY.parent / "state-repo-template"


@pytest.mark.parametrize("path", PIPELINES)
def test_a_pipeline_of_the_template_installs_what_the_repo_names_and_nothing_else(path: str) -> None:
    installed = re.findall(r"pip\"? install (.*?)(?: &&|$)", (TEMPLATE / path).read_text(), re.MULTILINE)
    assert installed == ["--requirement requirements.txt"]


def test_what_the_template_names_can_be_installed_from_a_repo_of_this_checkout(tmp_path: Path) -> None:
    origin, named = tmp_path / "origin", tmp_path / "requirements.txt"
    parts = ("reconciler", "schemas", "state-repo-template", "pyproject.toml", "README.md")
    for part in parts:
        source = DEPLOY.parent / part
        if source.is_dir():
            shutil.copytree(source, origin / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, origin / part)
    as_somebody = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    for words in (
        ("init", "--quiet"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "A release"),
        ("tag", "v1"),
    ):
        subprocess.run(["git", "-C", str(origin), *as_somebody, *words], check=True)
    text = (TEMPLATE / "requirements.txt").read_text()
    url, count = re.subn(r"(?<=git\+)https://\S+$", f"file://{origin}@v1", text, flags=re.MULTILINE)
    assert count == 1
    named.write_text(url)
    # What builds it and what it needs are here already.
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index")
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *options,
        "--wheel-dir",
        str(tmp_path),
        "--requirement",
        str(named),
    ]
    subprocess.run(wheel, check=True)
    assert [path.name.split("-")[0] for path in tmp_path.glob("*.whl")] == ["rayops"]


# What the daemon can do without; the score below differs between versions of systemd.
HARDENED = """
NoNewPrivileges=yes CapabilityBoundingSet= ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes
ProtectProc=invisible ProtectClock=yes ProtectHostname=yes ProtectControlGroups=yes ProtectKernelLogs=yes
ProtectKernelModules=yes ProtectKernelTunables=yes RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes
LockPersonality=yes MemoryDenyWriteExecute=yes SystemCallArchitectures=native SystemCallFilter=@system-service
KillMode=mixed StateDirectoryMode=0700
"""


def test_the_unit_gives_up_what_it_does_not_need() -> None:
    assert set(HARDENED.split()) <= set(UNIT.splitlines())


def test_the_unit_is_correct_and_hardened(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    unit = tmp_path / "rayops.service"
    unit.write_text(UNIT.replace("/opt/rayops/current/bin/rayops", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    judged = subprocess.run(
        # In tenths: 1.4 is what the present lines give on systemd 252.
        ["systemd-analyze", "security", "--offline=true", "--threshold=16", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-400:]


def install(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(INSTALLER), *words], capture_output=True, text=True, check=False, timeout=60)


def release_of(root: Path) -> Path:
    """Return where this checkout would be installed."""
    said = install("--root", str(root), "--dry-run").stdout
    found = re.search(r"^\+ rm -rf (\S+)$", said, re.MULTILINE)
    assert found, said
    return Path(found[1])


def test_the_installer_explains_itself_and_refuses_what_it_does_not_know() -> None:
    said = install("--help")
    assert said.returncode == 0
    for flag in re.findall(r"^ {8}(--[a-z-]+)\)", INSTALLER.read_text(), re.MULTILINE):
        assert flag in said.stdout
    assert install("--share", "/x").returncode == 2
    assert install("--shared", "relative").returncode == 2
    assert install("--shared", "/x#;e id").returncode == 2
    assert install("--user", "root;id").returncode == 2
    assert install("--shared").returncode == 2


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    said = install("--root", str(tmp_path), "--dry-run")
    assert said.returncode == 0, said.stderr
    assert "--require-hashes" in said.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_builds_nothing_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    release = release_of(tmp_path)
    release.mkdir(parents=True)
    (release / ".complete").touch()
    assert install("--root", str(tmp_path), "--shared", "/gpfs/fs1", "--user", "ops").returncode == 0
    etc = tmp_path / "etc/rayops"
    key, settings, hosts = etc / "keys/machines_ed25519", etc / "rayops.toml", etc / "known_hosts"
    unit = (tmp_path / "etc/systemd/system/rayops.service").read_text()
    assert 'shared = "/gpfs/fs1"' in settings.read_text()
    assert "\nUser=ops\n" in unit
    assert "\nReadWritePaths=/gpfs/fs1\n" in unit
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "opt/rayops/current").resolve() == release
    before = key.read_bytes()
    settings.write_text("# mine\n")
    hosts.write_text("host key\n")
    again = install("--root", str(tmp_path))
    assert again.returncode == 0
    assert "pip" not in again.stdout
    assert (key.read_bytes(), settings.read_text(), hosts.read_text()) == (before, "# mine\n", "host key\n")


def test_what_builds_the_wheel_comes_with_hashes() -> None:
    lock = install("--print-build-lock").stdout
    names = re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)
    assert names[0] == "hatchling"
    assert {"packaging", "pathspec", "pluggy"} <= set(names)
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE) if block)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A shared directory with a node program that says how it was called."""
    folder = tmp_path / "shared/.rayops/bin"
    folder.mkdir(parents=True)
    packed("import sys; print(sys.flags.isolated, sys.argv[1:])", folder / "node-0123456789ab.pyz")
    packed("print('evil')", folder / "node-evil.pyz")
    return tmp_path / "shared"


def forced(shared: Path, asked: str) -> "subprocess.CompletedProcess[str]":
    """Run the forced command as sshd would."""
    return subprocess.run(
        [str(DEPLOY / "rayops-gate"), str(shared)],
        env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": asked},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def asked_by_the_daemon(shared: Path) -> str:
    """Return what the daemon asks for on a machine whose Python is elsewhere."""
    program = shared / ".rayops/bin/node-0123456789ab.pyz"
    gate = GateCommand(str(program), sha256_of(program), "/some/other/python")
    return shlex.join(["timeout", "-k", str(_KILL_AFTER), "19", *gate.argv()])


def test_the_forced_command_runs_what_the_daemon_asks_for(shared: Path) -> None:
    said = forced(shared, asked_by_the_daemon(shared))
    assert (said.returncode, said.stdout) == (0, "1 ['gate']\n")


def test_the_forced_command_runs_its_own_loader(shared: Path) -> None:
    assert f"loader='{LOADER}'\n" in (DEPLOY / "rayops-gate").read_text()
    said = forced(shared, asked_by_the_daemon(shared).replace(LOADER, "print(1)"))
    assert (said.returncode, said.stdout) == (0, "1 ['gate']\n")


def test_the_forced_command_runs_no_program_that_was_changed(shared: Path) -> None:
    asked = asked_by_the_daemon(shared)
    packed("print('evil')", shared / ".rayops/bin/node-0123456789ab.pyz")
    said = forced(shared, asked)
    assert (said.returncode, said.stdout) == (1, "")
    assert "not the one that the daemon put there" in said.stderr


SHA256 = "f" * 64
GOOD = f"timeout -k 5 19 python3 -I -c loader {{shared}}/.rayops/bin/node-0123456789ab.pyz {SHA256} gate"


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "id",
        "{good}; id",
        "{good} && id",
        "{good}\nid",
        "$({good})",
        GOOD.replace("gate", "run"),
        GOOD.replace("gate", "gate x"),
        GOOD.replace("19", "-s9"),
        GOOD.replace("19", "99999"),
        GOOD.replace("19", "$(id)"),
        GOOD.replace("-I", "-c"),
        GOOD.replace("-c", "-m"),
        GOOD.replace(" loader", ""),
        GOOD.replace(SHA256, "$(id)"),
        GOOD.replace(SHA256, SHA256.upper()),
        GOOD.replace("0123456789ab", "evil"),
        GOOD.replace("0123456789ab", "../../../evil"),
        GOOD.replace("0123456789ab", ""),
        GOOD.replace("0123456789ab", "*"),
        GOOD.replace("{shared}", "{shared}/.."),
        GOOD.replace("{shared}", "/tmp"),
        GOOD.replace("timeout", "/tmp/timeout"),
    ],
)
def test_the_forced_command_runs_nothing_else(shared: Path, asked: str) -> None:
    good = GOOD.format(shared=shared)
    said = forced(shared, asked.replace("{good}", good).replace("{shared}", str(shared)))
    assert (said.returncode, said.stdout) == (126, "")


def test_the_container_copies_what_is_there() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    assert copied
    for name in (name for names in copied for name in names):
        assert (DEPLOY.parent / name).exists(), name
    assert 'ENTRYPOINT ["tini", "--", "rayops"' in text, "whatever is orphaned is buried"
    assert text.count("--require-hashes") == text.count("-r "), "no package comes without its hash"
