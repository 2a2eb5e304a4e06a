#!/usr/bin/env bash
# Fetches Neo4j Community from Maven Central and compiles the launcher: makes build/neo4j/lib and build/neo4j/classes.
# Safe to run twice; with everything present it needs no network. An interrupted download goes on where it stopped.
# usage: tools/stores/neo4j/prepare.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../../.." && pwd)/build/neo4j
version=$(sed -n 's:.*<neo4j.version>\(.*\)</neo4j.version>.*:\1:p' "$here/pom.xml")
mkdir -p "$target"
exec 9>"$target/lock"
flock 9

if [ "$(cat "$target/lib/VERSION" 2>/dev/null)" != "$version" ]; then
  # A user who has these jars already lends them; otherwise nothing is put outside this clone.
  repository=${HOME:-/nonexistent}/.m2/repository
  [ -d "$repository/org/neo4j/app/neo4j-server/$version" ] || repository=$target/repository
  echo "neo4j: fetching Neo4j $version from Maven Central (about 125 MB)"
  rm -rf "$target/lib"
  fetched=no
  for attempt in 1 2 3 4 5; do
    if mvn -B -q -f "$here/pom.xml" -Dmaven.repo.local="$repository" -Dmaven.wagon.http.retryHandler.count=3 \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$target/lib" </dev/null >"$target/fetch.log" 2>&1; then
      fetched=yes
      break
    fi
    echo "neo4j: attempt $attempt failed, trying again" >&2
    # Maven remembers a failed download and would not ask again.
    find "$repository" -name '*.lastUpdated' -path "$target/*" -delete 2>/dev/null || true
    sleep "$attempt"
  done
  [ "$fetched" = yes ] || { tail -20 "$target/fetch.log" >&2; echo "neo4j: could not be fetched; the log is $target/fetch.log" >&2; exit 1; }
  echo "$version" >"$target/lib/VERSION"
  rm -rf "$target/repository"
fi

if [ ! -e "$target/classes/Launcher.class" ] || [ "$here/Launcher.java" -nt "$target/classes/Launcher.class" ] ||
    [ "$target/lib/VERSION" -nt "$target/classes/Launcher.class" ]; then
  mkdir -p "$target/classes"
  javac -proc:none -cp "$target/lib/*" -d "$target/classes" "$here/Launcher.java"
fi
