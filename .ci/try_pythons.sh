#!/usr/bin/env bash
# Runs a make target in a fresh clone for every Python from 3.10 to 3.13 on this machine, one after another, and says
# which passed. Logs stand in build/pythons/. Takes the target and its variables:
#     bash .ci/try_pythons.sh test
#     bash .ci/try_pythons.sh report GENMODELS_BUDGET=smoke
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- test
logs=$PWD/build/pythons
mkdir -p "$logs"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tried=()
for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python $(compgen -c python3. | sort -u); do
    version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2> /dev/null) || continue
    [[ $version =~ ^3\.1[0-3]\. && " ${tried[*]} " != *" $version "* ]] || continue
    tried+=("$version")
    git clone --quiet . "$scratch/próba $version"
    result=passed
    make -C "$scratch/próba $version" PYTHON="$(command -v "$python")" "$@" > "$logs/$version.log" 2>&1 || result=failed
    echo "$(uname -sm), Python $version: make $*: $result"
    rm -rf "$scratch/próba $version"
done
