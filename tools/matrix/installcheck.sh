#!/usr/bin/env bash
# Runs tests of the installed extension on a new server, which is gone afterwards and listens in its own directory only.
# usage: tools/matrix/installcheck.sh DIRECTORY PG_CONFIG [SETTING=VALUE]... -- [MAKE_ARGUMENT]...
#   DIRECTORY is removed and made anew. As root the server runs as user postgres, who has to be able to enter it.
set -euo pipefail
cd "$(dirname "$0")/../.."

directory=$1 pg_config=$2
shift 2
settings=()
while [ "$1" != -- ]; do
  settings+=(-c "$1")
  shift
done
shift

bin=$("$pg_config" --bindir)
as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid=postgres --regid=postgres --clear-groups)

rm -rf "$directory"
mkdir -p "$directory"
[ "${#as_user[@]}" -eq 0 ] || chown postgres "$directory"
chmod 700 "$directory"
log=$directory/log
as_server=("${as_user[@]}" env -C "$directory" LC_ALL=C.UTF-8)

"${as_server[@]}" "$bin/initdb" --pgdata="$directory/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$log" 2>&1 ||
  { cat "$log"; exit 1; }
"${as_server[@]}" "$bin/postgres" -D "$directory/data" -c listen_addresses= -c unix_socket_directories="$directory" -c fsync=off \
  -c max_connections=200 -c max_prepared_transactions=20 -c shared_buffers=64MB "${settings[@]}" >>"$log" 2>&1 &
server=$!
trap 'kill -INT $server 2>/dev/null || true; wait $server || true; rm -rf "$directory"' EXIT

export PGHOST=$directory PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
for _ in {1..300}; do
  ! "$bin/pg_isready" --quiet || break
  kill -0 $server 2>/dev/null || break
  sleep 0.1
done
"$bin/pg_isready" --quiet || { cat "$log"; echo "installcheck: the server did not start"; exit 1; }

code=0
make -s -C extension installcheck PG_CONFIG="$pg_config" "$@" || code=$?
# What ends a server's process has to be seen, whatever the tests made of it.
if grep -E 'PANIC:|TRAP:|terminated by signal|ERROR: (Address|Leak|Undefined)' "$log"; then code=1; fi
exit $code
