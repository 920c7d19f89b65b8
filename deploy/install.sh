#!/usr/bin/env bash
# Installs or upgrades the RayOps daemon on this machine, from this checkout. Run it again at any time: it makes what is
# missing, never overwrites keys, known hosts or settings, and leaves a running daemon alone until you restart it.
set -euo pipefail
umask 022 # the daemon's user reads what root installs
cd "$(dirname "$0")/.."

PREFIX=/opt/rayops
ETC=/etc/rayops
STATE=/var/lib/rayops
BIN=/usr/local/bin
UNITS=/etc/systemd/system
SHARED=/shared
ACCOUNT=rayops
ACCOUNT_ID=
PYTHON=python3
DRY_RUN=

usage() {
    cat <<'HELP'
usage: deploy/install.sh [options]        (as root)

  --shared DIR    the shared directory, at the path where all machines mount it (/shared)
  --user NAME     the user that the daemon runs as; made if missing (rayops)
  --uid NUMBER    its number, if it is made: the same as the login's on the machines
  --python FILE   Python 3.11 or newer, with venv (python3)
  --root DIR      put everything below DIR, and make no user: for looking at it. No package: it has a key in it
  --dry-run       print the steps and do nothing
  --print-build-lock   print what builds the wheel, with hashes, and do nothing
  --help          show this
HELP
}

fail() {
    echo "install: $1" >&2
    exit "${2:-1}"
}

value() { # value OPTION [WORD] -> the word, or a complaint
    [ -n "${2:-}" ] || fail "$1 needs a value (see --help)" 2
    printf '%s' "$2"
}

# hatchling, which builds the wheel, and what it needs, cut out of the lock for development: all with hashes.
build_requirements() {
    awk '
        function flush() { if (keep) printf "%s", block; block = ""; keep = 0 }
        /^[a-z0-9]/ { flush(); keep = /^hatchling==/ }
        { block = block $0 "\n" }
        /^ +#( +via)? +hatchling$/ { keep = 1 }
        END { flush() }' deploy/requirements-dev.lock
}

ROOT=
while [ "$#" -gt 0 ]; do
    case $1 in
        --shared) SHARED=$(value "$@") && shift ;;
        --user) ACCOUNT=$(value "$@") && shift ;;
        --uid) ACCOUNT_ID=$(value "$@") && shift ;;
        --python) PYTHON=$(value "$@") && shift ;;
        --root) ROOT=$(value "$@") && shift ;;
        --dry-run) DRY_RUN=yes ;;
        --print-build-lock) build_requirements && exit 0 ;;
        --help | -h) usage && exit 0 ;;
        *) fail "no such option: $1 (see --help)" 2 ;;
    esac
    shift
done

plain='^/[A-Za-z0-9_./-]+$'
[[ $SHARED =~ $plain ]] || fail "--shared: expected an absolute path of letters, digits, '_', '.', '/' and '-'" 2
[[ $ACCOUNT =~ ^[a-z_][a-z0-9_-]{0,31}$ ]] || fail "--user: expected a plain login name" 2
[[ $ACCOUNT_ID =~ ^[0-9]*$ ]] || fail "--uid: expected a number" 2

step() { # step WORD... : say what is done, and do it unless this is a dry run
    echo "+ $*"
    [ -n "$DRY_RUN" ] || "$@"
}

owned() { # owned WORD... : options for `install`, with the daemon's user unless nobody was made
    if [ -n "$ROOT" ]; then printf '%s' "install $*"; else printf '%s' "install -o $ACCOUNT -g $ACCOUNT $*"; fi
}

check() {
    [ -n "$DRY_RUN$ROOT" ] || [ "$(id -u)" -eq 0 ] || fail "run it as root, or with --dry-run"
    for program in git ssh ssh-keygen "$PYTHON"; do
        command -v "$program" >/dev/null || fail "$program is missing; install it first"
    done
    "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON is older than 3.11 or has no venv; name another one with --python"
    [ -n "$ROOT$DRY_RUN" ] || [ -d "$SHARED" ] || fail "$SHARED is not there; mount it first, or name it with --shared"
}

make_user() {
    if [ -n "$ROOT" ] || id "$ACCOUNT" >/dev/null 2>&1; then return; fi
    step useradd --system --user-group ${ACCOUNT_ID:+--uid "$ACCOUNT_ID"} --home-dir "$STATE" --no-create-home \
        --shell /usr/sbin/nologin "$ACCOUNT"
}

release_name() { # what this release is made of, so that the same checkout is installed once
    find reconciler schemas state-repo-template pyproject.toml README.md deploy/requirements.lock \
        -type f ! -path '*/__pycache__/*' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12
}

install_program() {
    local name release pip=(-m pip --disable-pip-version-check --quiet)
    name=$(release_name)
    release=$ROOT$PREFIX/releases/$name
    if [ ! -e "$release/.complete" ]; then
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        build_requirements >"$work/build.lock"
        step rm -rf "$release"
        step mkdir -p "$ROOT$PREFIX/releases"
        step "$PYTHON" -m venv "$release"
        step "$release/bin/python" "${pip[@]}" install --require-hashes -r deploy/requirements.lock
        step "$PYTHON" -m venv "$work/build"
        step "$work/build/bin/python" "${pip[@]}" install --require-hashes -r "$work/build.lock"
        step "$work/build/bin/python" "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$work" .
        step "$release/bin/python" "${pip[@]}" install --no-deps --no-index --find-links "$work" rayops
        step touch "$release/.complete"
    fi
    # Replaced in one step: a daemon that starts now finds the old or the new release.
    step ln -sfn "releases/$name" "$ROOT$PREFIX/current.new"
    step mv -T "$ROOT$PREFIX/current.new" "$ROOT$PREFIX/current"
    step mkdir -p "$ROOT$BIN"
    step ln -sfn "$PREFIX/current/bin/rayops" "$ROOT$BIN/rayops"
}

install_settings() {
    local key=$ROOT$ETC/keys/machines_ed25519
    step mkdir -p "$ROOT$ETC"
    # shellcheck disable=SC2046
    step $(owned -d -m 0700) "$ROOT$ETC/keys"
    # shellcheck disable=SC2046
    step $(owned -d -m 0700) "$ROOT$STATE"
    if [ ! -e "$key" ]; then
        step ssh-keygen -q -t ed25519 -N '' -C "$ACCOUNT@$(uname -n)" -f "$key"
        [ -n "$ROOT" ] || step chown "$ACCOUNT:$ACCOUNT" "$key" "$key.pub"
    fi
    [ -e "$ROOT$ETC/known_hosts" ] || step install -m 0644 /dev/null "$ROOT$ETC/known_hosts"
    if [ ! -e "$ROOT$ETC/rayops.toml" ]; then
        step install -m 0644 deploy/rayops.toml "$ROOT$ETC/rayops.toml"
        step sed -i "s#\"/shared#\"$SHARED#" "$ROOT$ETC/rayops.toml"
    fi
}

install_unit() {
    if [ -z "$ROOT" ] && ! command -v systemctl >/dev/null; then
        echo "install: no systemd here; start \`rayops run\` as $ACCOUNT by what you have"
        return
    fi
    step mkdir -p "$ROOT$UNITS"
    step install -m 0644 deploy/rayops.service "$ROOT$UNITS/rayops.service"
    step sed -i -e "s#=/shared#=$SHARED#" -e "s#^\(User\|Group\)=rayops#\1=$ACCOUNT#" "$ROOT$UNITS/rayops.service"
    [ -n "$ROOT" ] || step systemctl daemon-reload
}

check
make_user
install_program
install_settings
install_unit
[ -n "$DRY_RUN" ] || cat <<NEXT

Installed. Next:
  1. $ETC/rayops.toml       where desired state comes from
  2. $ETC/known_hosts       the host keys of all machines, compared
  3. $ETC/keys/machines_ed25519.pub   into authorized_keys on the machines
  4. sudo -u $ACCOUNT rayops plan, then: systemctl enable --now rayops   (after an upgrade: systemctl restart rayops)
NEXT
