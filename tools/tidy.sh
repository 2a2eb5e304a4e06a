#!/usr/bin/env bash
# clang-tidy over every C++ file; .clang-tidy says which checks and why others are left out.
# usage: tools/tidy.sh [PATTERN]     (a regular expression of paths; everything when absent)
set -euo pipefail
cd "$(dirname "$0")/.."

pattern=${1:-.}
directory=build/release
tools/build.sh "$directory" >/dev/null
status=0
run-clang-tidy-14 -quiet -p "$directory" -j "$(nproc)" "^$PWD/(sidecar|tests|extension/src/core)/.*($pattern)" || status=1

# PostgreSQL's side of the extension is built by PGXS, which writes no compilation database.
server=$(pg_config --includedir-server)
git ls-files 'extension/src/pg/*.cpp' | grep -E "$pattern" | xargs -r -P "$(nproc)" -I{} \
  clang-tidy-14 -quiet {} -- -std=c++20 -Iextension/src -isystem "$server" || status=1
exit "$status"
