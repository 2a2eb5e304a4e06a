#!/usr/bin/env bash
# Runs a private Neo4j in the foreground until SIGTERM or SIGINT; after prepare.sh.
# usage: tools/stores/neo4j/run.sh --data DIR [--bolt-port N] [--password P]
#   --data DIR       everything it writes, logs included, goes here; an existing directory is opened again
#   --bolt-port N    Bolt on 127.0.0.1:N; 0 (the default) chooses a free port
#   --password P     asks user neo4j for this password; without it there is no authentication. APEX_NEO4J_PASSWORD
#                    in the environment does the same without showing in `ps`.
# APEX_NEO4J_JVM in the environment replaces the memory and the collector of the JVM, which are those of a small server beside tests.
# Prints one line on stdout, `READY bolt://127.0.0.1:PORT`, as soon as it answers. Its own log is DIR/logs/debug.log.
set -euo pipefail
target=$(cd "$(dirname "$0")/../../.." && pwd)/build/neo4j
[ -e "$target/classes/Launcher.class" ] || { echo "neo4j: run $(dirname "$0")/prepare.sh first" >&2; exit 1; }
# `exec` makes the JVM the process that the caller started and signals.
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" ${APEX_NEO4J_JVM:--Xms256m -Xmx512m -XX:+UseSerialGC} -Xshare:auto \
  --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED \
  -cp "$target/classes:$target/lib/*" Launcher "$@"
