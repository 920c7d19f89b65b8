"""Real Git remotes for tests: a bare repository, and ways to reach it (file, ssh, https)."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A U Thor",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "A U Thor",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test, with the reason, where a program is not installed."""
    missing = [program for program in programs if shutil.which(program, path=ENVIRONMENT["PATH"]) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class GitRemote:
    """A bare repository to which tests commit without a work tree, so that anything can be committed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._index = folder.with_suffix(".index")
        self._count = 0
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", *options, str(folder)],
            check=True,
            env=ENVIRONMENT,
        )

    def git(self, *arguments: str, text: bytes = b"") -> str:
        environment = {**ENVIRONMENT, "GIT_DIR": str(self.folder), "GIT_INDEX_FILE": str(self._index)}
        quiet = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")  # tests plant hooks and programs
        done = subprocess.run(
            ["git", *quiet, *arguments], input=text, capture_output=True, check=True, env=environment
        )
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, bytes | None], *, links: Sequence[str] = ()) -> str:
        return self._commit(files, links, parents=["refs/heads/main"] if self._has_branch() else [])

    def force_push(self, files: Mapping[str, bytes | None]) -> str:
        self.git("read-tree", "--empty")
        return self._commit(files, (), parents=[])

    def push_back_to(self, revision: str) -> None:
        self.git("update-ref", "refs/heads/main", revision)
        self.git("read-tree", revision)

    def delete_branch(self) -> None:
        self.git("update-ref", "refs/kept/main", "refs/heads/main")
        self.git("update-ref", "-d", "refs/heads/main")

    def restore_branch(self) -> None:
        self.git("update-ref", "refs/heads/main", "refs/kept/main")

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", text=content)

    def tree(self, entries: Sequence[tuple[str, str, bytes]]) -> str:
        """Write a tree object of (mode, id, name) as it is given, however wrong."""
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, one, name in entries)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", text=raw)

    def commit_tree(self, tree: str) -> str:
        parents = [part for name in ["refs/heads/main"] if self._has_branch() for part in ("-p", name)]
        revision = self.git("commit-tree", tree, *parents, "-m", f"change {self._next()}")
        self.git("update-ref", "refs/heads/main", revision)
        return revision

    def _commit(self, files: Mapping[str, bytes | None], links: Sequence[str], parents: list[str]) -> str:
        lines = []
        for path, content in files.items():
            lines.append(f"0 {'0' * 40}\t{path}" if content is None else f"100644 {self.blob(content)}\t{path}")
        lines += [f"120000 {self.blob(b'/etc/shadow')}\t{path}" for path in links]
        if lines:
            self.git("update-index", "-z", "--index-info", text="".join(f"{line}\0" for line in lines).encode())
        given = [part for parent in parents for part in ("-p", parent)]
        revision = self.git("commit-tree", self.git("write-tree"), *given, "-m", f"change {self._next()}")
        self.git("update-ref", "refs/heads/main", revision)
        return revision

    def _has_branch(self) -> bool:
        return bool(self.git("for-each-ref", "refs/heads/main"))

    def _next(self) -> int:
        self._count += 1
        return self._count


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[int, Path, Path]]:
    """Run an sshd of our own on loopback; give its port, a key that it admits, and its known-hosts file."""
    program = shutil.which("sshd", path=ENVIRONMENT["PATH"])
    assert program is not None
    folder.mkdir(mode=0o700)
    for name in ("host", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, env=ENVIRONMENT)
    shutil.copy(folder / "key.pub", folder / "authorized")
    port = free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")], env=ENVIRONMENT, stdout=log, stderr=log
    )
    try:
        _wait_for(port, server)
        yield port, folder / "key", folder / "known_hosts"
    finally:
        server.terminate()
        server.wait()
        log.close()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        assert server.poll() is None, "sshd ended at once"
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    raise AssertionError("sshd did not come up")


class _Backend(BaseHTTPRequestHandler):
    """Runs `git http-backend` as CGI, behind a password if the server has one."""

    server: "HttpServer"
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        given = self.headers.get("Authorization", "")
        self.server.seen.append((self.path, given))
        self.server.look()
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect + self.path)
            self._answer(b"")
            return
        secret = self.server.secret
        if secret and given != "Basic " + base64.b64encode(f"x-access-token:{secret}".encode()).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self._answer(b"")
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        environment = {
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, capture_output=True, env=environment, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split(" ")[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self._answer(content)

    def _answer(self, content: bytes) -> None:
        # With a length, GnuTLS does not mistake the end of the connection for an attack.
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass

    def log_error(self, *_: Any) -> None:
        pass


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, secret: str, redirect: str) -> None:
        super().__init__(("127.0.0.1", 0), _Backend)
        self.root = root
        self.secret = secret
        self.redirect = redirect
        self.seen: list[tuple[str, str]] = []
        self.look: Callable[[], None] = lambda: None

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are part of the tests


@contextmanager
def http_server(
    root: Path, *, secret: str = "", redirect: str = "", certificate: Path | None = None
) -> Iterator[HttpServer]:
    """Serve the repositories below `root` over smart HTTP on loopback."""
    server = HttpServer(root, secret, redirect)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def processes_with(text: str) -> list[str]:
    """Return the command lines of all live processes that have `text` in their arguments or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes()
            if text.encode() in arguments + (process / "environ").read_bytes():
                found.append(arguments.replace(b"\0", b" ").decode(errors="replace"))
    return found


def make_certificate(folder: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1 with its key into one file."""
    both = folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    both.write_text((folder / "tls.key").read_text() + (folder / "tls.crt").read_text())
    return both
