#!/bin/sh
# Build the wheel, install it alone in an empty folder, and do there what a user does without a checkout:
# inspect a bundle, build its firmware, verify it on the emulated board.
#
#   tools/check_wheel.sh VENV
set -eu

cd "$(dirname "$0")/.."
python=$(pwd)/$1/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

say() { printf 'wheel: %s\n' "$*" >&2; }

say "building"
"$python" -m build --wheel --no-isolation --outdir "$folder/dist" . >"$folder/build.log" 2>&1 ||
    { cat "$folder/build.log" >&2; exit 1; }
"$python" -c 'import sys; sys.path.insert(0, "."); from tests.tflite_builder import small_bundle; small_bundle(sys.argv[1])' \
    "$folder/bundle"

say "installing $(basename "$folder"/dist/*.whl) in an empty environment"
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --disable-pip-version-check --no-input -qq "$folder"/dist/*.whl </dev/null

mkdir "$folder/empty"
cd "$folder/empty"
# Only what the wheel brought and the system's tools: neither this checkout nor its environment.
PATH="$folder/venv/bin:$(printf '%s' "$PATH" | tr ':' '\n' | grep -v "^$(dirname "$python")\$" | paste -s -d ':' -)"
EDGECODEC_CACHE="$folder/cache"
export PATH EDGECODEC_CACHE
unset PYTHONPATH

edgecodec --version
edgecodec inspect 08x_light >/dev/null
edgecodec inspect "$folder/bundle" >/dev/null
edgecodec generate "$folder/bundle" -o codec >/dev/null
edgecodec generate "$folder/bundle" -o library --library >/dev/null
edgecodec generate "$folder/bundle" -o updates --blob --all-kernels >/dev/null
test -f library/zephyr/module.yml
edgecodec boards show pico >/dev/null

lacking=
for tool in arm-none-eabi-gcc qemu-system-arm; do
    command -v "$tool" >/dev/null || lacking="$lacking $tool"
done
if [ -n "$lacking" ]; then
    say "cannot build and run firmware without$lacking"
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
say "building firmware and running it"
edgecodec build-firmware "$folder/bundle" --board mps2-an386 -o firmware
edgecodec flash-and-verify "$folder/bundle" --board mps2-an386 --limit 4 --json >verdict.json
grep '"verdict": "equal"' verdict.json >/dev/null
say "the installed wheel builds and verifies firmware"
