#!/usr/bin/env bash
# Install CBMC, as root. Debian 11 and 13 have it and 12 has not; that of 11 runs there, and is taken from the mirror that
# this machine has anyway, without its other packages being seen.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
if apt-get install -q -y --no-install-recommends cbmc </dev/null; then
    exit
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/$')
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" >"$folder/sources.list"
apt=(apt-get -q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update </dev/null
(cd "$folder" && "${apt[@]}" download cbmc </dev/null)
apt-get install -q -y --no-install-recommends "$folder"/cbmc_*.deb </dev/null
