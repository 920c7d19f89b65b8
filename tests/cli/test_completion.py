"""Shell completion: under a real bash, fast, and silent when there is nothing to say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.completion import SCRIPTS
from reconciler.cli.exit import Exit
from reconciler.cli.verbs import VERBS
from tests.cli.site import Site, full, job

BASH = shutil.which("bash")
# Completes the last word of a line in the way readline asks for it, and prints what it would offer.
DRIVER = """\
source <(rayops completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_rayops
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return full(tmp_path / "shared")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("get j", "jobs"),
        ("get job/", "job/cv/eval job/rl/grpo-7 job/rl/old job/rl/ppo-gsm8k job/rl/sft-3"),
        ("get jobs rl/p", "rl/ppo-gsm8k"),
        ("get pool/", "pool/h20"),
        ("get -o wide nodes h20-0", "h20-01 h20-02 h20-03"),
        ("describe no", "node/"),
        ("describe node/h20-1", "node/h20-10"),
        ("logs ", "cv/eval rl/grpo-7 rl/old rl/ppo-gsm8k rl/sft-3"),
        ("logs rl/o", "rl/old"),
        ("wait --f", "--for"),
        ("get jobs --out", "--output"),
        ("get jobs -o j", "json jsonl"),
        ("get jobs -T ", "cv rl"),
        ("get jobs -l ", ""),
        ("completion ", "bash fish zsh"),
        ("nonsense ", ""),
        ("describe pod/", ""),
        ("--status X ge", "get"),
    ],
)
def test_these_words_are_offered(site: Site, line: str, offered: str) -> None:
    said = site.call("__complete", "--", *line.split(" "))
    assert (said.lines, said.err, said.code) == (offered.split(), "", Exit.DONE)


def test_every_verb_is_offered_but_the_hidden_ones(site: Site) -> None:
    assert site.call("__complete", "--", "").lines == sorted(verb.name for verb in VERBS if not verb.hidden)
    assert site.call("__complete").lines == site.call("__complete", "--", "").lines


def test_a_missing_status_offers_nothing_and_says_nothing(site: Site) -> None:
    said = site.call("__complete", "--", "logs", "", "--status", "x")
    assert site.call("--status", "/nonexistent", "__complete", "--", "logs", "").out == ""
    assert said.err == ""


def test_the_scripts_are_printed(site: Site) -> None:
    for shell in SCRIPTS:
        assert site.call("completion", shell).out == SCRIPTS[shell]
    assert site.call("completion", "tcsh").code == Exit.USAGE


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("rayops", "g"), "get"),
        (("rayops", "logs", "rl/p"), "rl/ppo-gsm8k"),
        (("rayops", "get", "jobs", "-o", "y"), "yaml"),
        (("rayops", "get", ""), "all clusters jobs nodes pools sites teams users"),
        (("rayops", "why", "job/rl/$(touch owned)"), ""),
        (("rayops", "logs", "a b"), ""),
    ],
)
def test_bash_completes(site: Site, tmp_path: Path, words: tuple[str, ...], offered: str) -> None:
    site.put(job("a-b", "Queued"))
    command = tmp_path / "bin/rayops"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
    command.chmod(0o755)
    environment = {"PATH": f"{command.parent}:/usr/bin:/bin", "RAYOPS_STATUS": str(site.status)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [str(BASH), "--norc", "-c", DRIVER, "bash", *words],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (offered.split(), "")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_correct_for_its_shell(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    subprocess.run([program, "-n"], input=SCRIPTS[shell], text=True, check=True)
