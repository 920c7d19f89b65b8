import os
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from reconciler.remote import program
from tests.node.machine import NodeMachine

OLDEST = "python3.9"


def test_two_builds_are_the_same_bytes() -> None:
    assert program.build() == program.build()


def test_the_name_follows_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before = program.build()
    monkeypatch.setattr(program, "_PACKAGE", b"# another\n")
    assert program.build().name != before.name


def test_the_program_holds_the_node_part_and_nothing_else() -> None:
    with zipfile.ZipFile(BytesIO(program.build().data)) as archive:
        names = archive.namelist()
    assert names == sorted(names)
    assert {name.split("/")[1] for name in names if "/" in name} == {"__init__.py", "node"}


def test_the_program_needs_no_installed_package(machine: NodeMachine) -> None:
    bare = [sys.executable, "-I", "-S", str(machine.program)]
    done = subprocess.run(bare, capture_output=True, check=False, cwd="/")
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr.startswith(b"usage: ")


def test_the_gate_answers_on_the_oldest_python_of_a_node(machine: NodeMachine) -> None:
    python = shutil.which(OLDEST)
    if python is None or subprocess.run([python, "-V"], capture_output=True, check=False, cwd="/").returncode:
        found = Path.home() / ".pyenv" / "versions"
        python = next((str(each / "bin" / OLDEST) for each in sorted(found.glob("3.9.*"))), None)
    if python is None or not os.access(python, os.X_OK):
        pytest.skip(f"{OLDEST} is not on this machine")
    every = subprocess.run(
        [python, "-I", "-c", _IMPORT_ALL, str(machine.program)], capture_output=True, text=True, check=False
    )
    assert every.returncode == 0, every.stderr
    assert machine.send(b"{}", python)["kind"] == "invalid"


_IMPORT_ALL = """
import importlib, sys, zipfile
sys.path.insert(0, sys.argv[1])
for name in zipfile.ZipFile(sys.argv[1]).namelist():
    if name.startswith("reconciler/node/") and not name.endswith("__main__.py"):
        importlib.import_module(name[:-3].replace("/", ".").replace(".__init__", ""))
"""
