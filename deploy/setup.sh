#!/usr/bin/env bash
# Makes the virtual environment from the lock file; with --system, installs what the tests on real parts need.
# As root it installs missing Debian packages; otherwise it says what is missing and goes on, and those tests skip.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

install() { # install PACKAGE... as root, or say what is missing
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $*"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "setup: missing Debian packages: $*" >&2
        return 1
    fi
}

if [ "${1:-}" = "--system" ]; then
    missing=()
    [ -x /usr/sbin/sshd ] || command -v sshd >/dev/null || missing+=(openssh-server)
    command -v ip >/dev/null || [ -x /usr/sbin/ip ] || missing+=(iproute2)
    command -v strace >/dev/null || missing+=(strace)
    if [ "${#missing[@]}" -gt 0 ]; then
        install "${missing[@]}" || echo "setup: the tests that need them will skip" >&2
    fi
    exit 0
fi

missing=()
command -v git >/dev/null || missing+=(git)
command -v ssh-keygen >/dev/null || missing+=(openssh-client)
command -v "$PYTHON" >/dev/null || missing+=(python3)
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ "${#missing[@]}" -eq 0 ] || install "${missing[@]}"

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2
    exit 1
}
if [ ! -x "$VENV/bin/python" ]; then
    echo "setup: making $VENV"
    "$PYTHON" -m venv "$VENV"
fi
echo "setup: installing pinned packages (about 400 MB the first time)"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/requirements-dev.lock
# The checkout itself, so that `rayops` is a command; its dependencies are all in the lock.
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch "$VENV/.ready"
