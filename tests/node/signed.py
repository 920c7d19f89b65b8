"""Head files as the daemon publishes them: signed by ssh-keygen with a key made for the test."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class HeadKey:
    """A signing key and the folder where head files and allowed signers lie."""

    folder: Path
    name: str = "key"

    def __post_init__(self) -> None:
        self.key = self.folder / self.name
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.key)]
        subprocess.run(make, check=True)
        self.head_file = self.folder / "head.json"
        self.allowed_signers = self.folder / "allowed_signers"

    def allow(self) -> None:
        """Let this key be the only one that is believed."""
        public = self.key.with_suffix(".pub").read_text()
        self.allowed_signers.write_text(f'rayops namespaces="rayops-head" {public}')

    def sign(self, payload: str, namespace: str = "rayops-head") -> str:
        """Return the signature of a text."""
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.key)]
        return subprocess.run(command, input=payload.encode(), capture_output=True, check=True).stdout.decode()

    def document(self, *, signed: bool = True, **change: Any) -> bytes:
        """Return a head file."""
        payload = {
            "site": "c0ffee",
            "cluster": "main",
            "epoch": 3,
            "session": "session_1",
            "rayVersion": "2.60.0",
            "host": "10.0.0.1",
            "gcsPort": 6379,
            "dashboardPort": 8265,
            "issuedAt": "2026-01-01T00:00:00Z",
        }
        text = json.dumps({**payload, **change}, sort_keys=True)
        signature = self.sign(text) if signed else self.sign("another text")
        return json.dumps({"payload": text, "signature": signature}).encode()

    def publish(self, *, signed: bool = True, **change: Any) -> None:
        """Put a head file in force."""
        self.allow()
        draft = self.head_file.with_suffix(".draft")
        draft.write_bytes(self.document(signed=signed, **change))
        draft.chmod(0o644)
        draft.replace(self.head_file)
