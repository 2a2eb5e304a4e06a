#!/usr/bin/env bash
# Configures and builds with CMake and Ninja.
# usage: tools/build.sh BUILD_DIRECTORY [TARGET] [CMAKE_OPTION...]     (TARGET defaults to everything)
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$1
target=${2:-all}
shift $(($# < 2 ? $# : 2))
mkdir -p "$directory"
log=$directory/configure.log
cmake -S . -B "$directory" -G Ninja "$@" >"$log" 2>&1 ||
  { tail -30 "$log" >&2; echo "build: cmake failed; the whole log is $log" >&2; exit 1; }
ninja -C "$directory" "$target"
