#!/usr/bin/env bash
# Builds the fuzz targets of tests/fuzz with Clang and runs all of them at once. What they found worth keeping stays in
# build/fuzz/corpus for the next run, a finding in build/fuzz/findings.
# usage: tools/fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
build=build/fuzz
CXX=clang++-14 tools/build.sh "$build" fuzz -DAPEX_FUZZ=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo
export ASAN_OPTIONS=detect_container_overflow=0  # Debian's libraries are not instrumented.
mkdir -p "$build/findings"
targets=()
for target in "$build"/fuzz_*; do
  name=${target##*/fuzz_}
  mkdir -p "$build/corpus/$name"
  "$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -artifact_prefix="$build/findings/$name-" \
    "$build/corpus/$name" "tests/fuzz/seeds/$name" >"$build/$name.log" 2>&1 &
  targets+=("$name:$!")
done
failed=0
for target in "${targets[@]}"; do
  name=${target%%:*}
  if wait "${target##*:}"; then
    echo "fuzz $name: $(grep -o 'Done .*' "$build/$name.log")"
  else
    echo "fuzz $name: FAILED, the end of $build/$name.log:" >&2
    tail -30 "$build/$name.log" >&2
    failed=1
  fi
done
exit "$failed"
