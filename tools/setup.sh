#!/bin/sh
# Set up what `make` targets need: system tools (Debian packages where apt is there) and a virtual
# environment. Safe to run again: returns at once when nothing is missing. Never prompts.
#
#   tools/setup.sh VENV
#
# PYTHON   the interpreter to make VENV with (default: the first of 3.11 to 3.13 found)
# EXTRAS   extras of the package to install (default: dev,fleet,records,train-cpu,verify)
set -eu

venv=$1
extras=${EXTRAS:-dev,fleet,records,train-cpu,verify}
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Nothing changed since the last run and no tool is missing: no Python needs to start to know that.
state="$(pwd) ${PYTHON:-} $extras $(cksum <pyproject.toml)"
up_to_date() {
    have arm-none-eabi-gcc && have qemu-system-arm && { have cc || have gcc; } || return 1
    installed
}
installed() {
    [ -x "$venv/bin/python" ] && [ -x "$venv/bin/edgecodec" ] && [ "$(cat "$venv/.state" 2>/dev/null)" = "$state" ]
}
if up_to_date; then exit 0; fi

# TensorFlow has wheels for these.
supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        if supported "$PYTHON"; then echo "$PYTHON"; fi
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

# apt_install PACKAGE...: as root, or through sudo when it asks for no password.
apt_install() {
    have apt-get || return 1
    if [ "$(id -u)" -eq 0 ]; then
        as_root=env
    elif have sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n env"
    else
        return 1
    fi
    say "installing $*"
    log=$(mktemp)
    options="-o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30"
    if { $as_root DEBIAN_FRONTEND=noninteractive apt-get $options update -q &&
        $as_root DEBIAN_FRONTEND=noninteractive apt-get $options install -q -y --no-install-recommends "$@"; } \
        </dev/null >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    grep -E '^(E|Err)' "$log" | head -3 >&2 || true
    rm -f "$log"
    return 1
}

# Each missing tool adds its Debian package to $packages.
need() {
    packages="$packages $1"
}

find_missing() {
    packages=
    if ! have cc && ! have gcc; then need gcc; need libc6-dev; fi
    # The firmware is freestanding, so the large C library that gcc-arm-none-eabi recommends is left out.
    have arm-none-eabi-gcc || need gcc-arm-none-eabi
    have qemu-system-arm || need qemu-system-arm
    if [ -z "$python" ]; then
        need python3; need python3-venv; need python3-dev
        return
    fi
    # Debian's packages serve Debian's Python only; other Pythons bring headers and ensurepip or never will.
    missing=$("$python" - <<'PY'
import importlib.util, os, sys, sysconfig
version = "python%d.%d" % sys.version_info[:2]
lacks_headers = not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
lacks_venv = importlib.util.find_spec("ensurepip") is None
if sys.base_prefix == "/usr":
    print(*[version + end for end, lacks in (("-dev", lacks_headers), ("-venv", lacks_venv)) if lacks])
elif lacks_headers:
    print("setup: %s has no Python.h, so the C cannot be built for this machine" % sys.executable, file=sys.stderr)
PY
    )
    for package in $missing; do need "$package"; done
}

python=$(choose_python)
if [ -z "$python" ] && [ -n "${PYTHON:-}" ]; then
    say "PYTHON=$PYTHON does not run or is not Python 3.11 to 3.13"
    exit 2
fi
find_missing
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    if ! apt_install $packages; then
        if have apt-get; then
            say "cannot install system packages here (neither root nor password-free sudo, or apt-get failed);" \
                "install them with: sudo apt-get install --no-install-recommends$packages"
        else
            say "missing, named as in Debian:$packages; install them with this system's package manager"
        fi
        say "going on with what does not need them"
    fi
fi

[ -n "$python" ] || python=$(choose_python)
if [ -z "$python" ]; then
    say "no Python 3.11 to 3.13 found ($(python3 --version 2>&1 || true)); install one and name it:" \
        "make PYTHON=/path/to/python3.12 ..."
    exit 2
fi

# Scripts in the environment hold absolute paths, so it belongs to one place and one Python.
origin="$(pwd) $("$python" -c 'import sys; print(sys.version, sys.base_prefix)')"
if installed; then exit 0; fi
if [ -d "$venv" ] && [ ! -w "$venv" ]; then
    say "$venv cannot be written; it belongs to $(ls -ld "$venv" | awk '{ print $3 }')"
    exit 2
fi
usable() { "$venv/bin/python" -m pip --version >/dev/null 2>&1; }
if [ -d "$venv" ] && [ ! -e "$venv/.origin" ]; then
    # Somebody else's environment: use it as it is, never remove it.
    if ! usable || ! supported "$venv/bin/python"; then
        say "$venv is there but is no environment of Python 3.11 to 3.13 with pip; remove or rename it"
        exit 2
    fi
elif [ "$(cat "$venv/.origin" 2>/dev/null)" != "$origin" ] || ! usable; then
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        say "$python has no ensurepip; install it with: sudo apt-get install python3-venv"
        exit 2
    fi
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    mkdir -p "$venv"
    printf '%s' "$origin" >"$venv/.origin"
    "$python" -m venv "$venv"
fi
say "installing edgecodec[$extras] into $venv (TensorFlow is large: this takes minutes the first time)"
if [ -t 2 ]; then quiet=; else quiet=-qq; fi # progress for a person, errors only for a log
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input $quiet -e ".[$extras]" </dev/null >&2
printf '%s' "$state" >"$venv/.state"
