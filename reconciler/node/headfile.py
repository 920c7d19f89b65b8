"""The signed head file: which generation of a cluster's head is in force."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reconciler.node import files
from reconciler.node.documents import Fields, parse
from reconciler.node.failure import REFUSED, TRANSIENT, NotDone

NAMESPACE = "rayops-head"
_LIMIT = 64 * 1024
_VERIFY_SECONDS = 10.0


@dataclass(frozen=True)
class HeadFile:
    """A head file whose signature is good."""

    site: str
    cluster: str
    epoch: int
    session: str
    host: str
    gcs_port: int


def read_head(path: Path, allowed_signers: str, signer: str, cluster: str, at_least: int) -> HeadFile | None:
    """Return the head in force, None when no file is there.

    Links, pipes, long files, files that others can write, bad signatures, other clusters and epochs below
    `at_least` are refused: a reader never follows what its cluster's daemon did not sign.
    """
    document = files.read(path, _LIMIT)
    if document is None:
        return None
    if path.lstat().st_mode & 0o022:
        raise NotDone(REFUSED, f"{path} can be written by others than its owner")
    fields = Fields(parse(document, "the head file"), "head")
    payload = fields.text("payload", limit=_LIMIT)
    signature = fields.text("signature", limit=_LIMIT)
    fields.end()
    _verify(payload.encode(), signature.encode(), allowed_signers, signer)
    head = _read_payload(payload.encode())
    if head.cluster != cluster:
        raise NotDone(REFUSED, f"the head file belongs to another cluster than {cluster}")
    if head.epoch < at_least:
        raise NotDone(REFUSED, f"the head file of {cluster} is of epoch {head.epoch}, {at_least} was seen already")
    return head


def _read_payload(payload: bytes) -> HeadFile:
    fields = Fields(parse(payload, "the head file's payload"), "head.payload")
    head = HeadFile(
        site=fields.name("site"),
        cluster=fields.name("cluster"),
        epoch=fields.integer("epoch", 1, 1 << 53),
        session=fields.text("session"),
        host=fields.text("host"),
        gcs_port=fields.integer("gcsPort", 1, 65_535),
    )
    fields.integer("dashboardPort", 1, 65_535)
    fields.text("rayVersion")
    fields.text("issuedAt")
    fields.end()
    return head


def _verify(payload: bytes, signature: bytes, allowed_signers: str, signer: str) -> None:
    with tempfile.TemporaryDirectory(prefix="rayops-") as folder:
        file, signers = Path(folder) / "signature", Path(folder) / "allowed_signers"
        file.write_bytes(signature)
        signers.write_text(allowed_signers, encoding="utf-8")
        options = ["-f", str(signers), "-I", signer, "-n", NAMESPACE, "-s", str(file)]
        try:
            done = subprocess.run(
                ["ssh-keygen", "-Y", "verify", *options],
                input=payload,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                timeout=_VERIFY_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotDone(TRANSIENT, "the head file cannot be verified: ssh-keygen does not run here") from error
    # The exit code alone proves nothing: Python takes a child that somebody else has waited for to have ended well.
    said = f'Good "{NAMESPACE}" signature for {signer} with '.encode()
    if done.returncode != 0 or not done.stdout.startswith(said):
        raise NotDone(REFUSED, "the head file's signature is not of the site's key")
