#!/bin/bash
# Makes the cluster on the first start, and then becomes the server.
#
# As in the well-known image of PostgreSQL:
#   POSTGRES_PASSWORD             the superuser's password; required on the first start unless
#   POSTGRES_HOST_AUTH_METHOD     (scram-sha-256) is `trust`
#   POSTGRES_USER, POSTGRES_DB    the superuser (postgres), and a database to make (the superuser's name)
#   POSTGRES_INITDB_ARGS          more arguments of initdb
#   /docker-entrypoint-initdb.d   *.sh, *.sql, *.sql.gz, *.sql.xz and *.sql.zst, run in order of their names
# And for Apex Saga, whose extension is created in POSTGRES_DB before those are run:
#   APEX_SIDECAR_PASSWORD         makes the role that `apex run` logs in with, and grants it what it needs
#   APEX_SIDECAR_ROLE             (apex_sidecar) its name
# Each of them can be given as a file's path in a variable with _FILE behind its name. A database that is there already is
# left as it is. Started as root it gives the data to the user postgres and goes on as that user.
set -euo pipefail

readonly given=(POSTGRES_PASSWORD POSTGRES_HOST_AUTH_METHOD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS
  APEX_SIDECAR_PASSWORD APEX_SIDECAR_ROLE)
# A cluster is made in here and then moved up. The directory goes away last: while it is there, nothing is worth keeping.
readonly unfinished=$PGDATA/.unfinished

die() { printf 'entrypoint: %s\n' "$*" >&2; exit 1; }

# Reads NAME from the file that NAME_FILE names. Runs before root is given up: a secret may be readable by root alone.
read_from_file() {
  local name=$1 file=$1_FILE
  [ -n "${!file:-}" ] || return 0
  [ -z "${!name:-}" ] || die "both $name and $file are set: give one"
  [ -r "${!file}" ] || die "$file: ${!file} cannot be read"
  export "$name=$(<"${!file}")"
  unset "$file"
}

give_up_root() {
  mkdir -p "$PGDATA" /var/run/postgresql
  find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres:postgres {} +
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
}

make_cluster() {
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    die 'POSTGRES_PASSWORD is needed on the first start, or POSTGRES_PASSWORD_FILE'
  fi
  local password=()
  [ -z "${POSTGRES_PASSWORD:-}" ] || password=(--pwfile=/dev/stdin)
  # Word splitting is wanted: the variable holds arguments.
  # shellcheck disable=SC2086
  initdb --pgdata="$unfinished" --username="$POSTGRES_USER" --encoding=UTF8 --auth-local=trust --auth-host=scram-sha-256 \
    "${password[@]}" --set listen_addresses='*' --set shared_preload_libraries=apex_saga ${POSTGRES_INITDB_ARGS:-} \
    <<<"${POSTGRES_PASSWORD:-}"
  printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$unfinished/pg_hba.conf"
  mv "$unfinished"/* "$PGDATA"
}

# psql as the superuser, over the socket; it stops at the first error.
run_sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" "$@"; }

# Passwords and names reach psql through the environment and its own quoting: neither `ps` nor a quotation mark matters.
make_database() {
  [ "$POSTGRES_DB" = postgres ] || POSTGRES_DB=postgres run_sql --set database="$POSTGRES_DB" <<<'CREATE DATABASE :"database";'
  run_sql <<<'CREATE EXTENSION apex_saga;'
  [ -n "${APEX_SIDECAR_PASSWORD:-}" ] || return 0
  run_sql --output=/dev/null <<'SQL'
\getenv role APEX_SIDECAR_ROLE
\getenv password APEX_SIDECAR_PASSWORD
CREATE ROLE :"role" LOGIN PASSWORD :'password';
SELECT apex.grant_sidecar(quote_ident(:'role')::regrole);
SQL
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    [ -e "$file" ] || continue
    echo "entrypoint: $file"
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) run_sql --file="$file" ;;
      *.sql.gz) gzip -dc "$file" | run_sql ;;
      *.sql.xz) xz -dc "$file" | run_sql ;;
      *.sql.zst) zstd -dc "$file" | run_sql ;;
      *) echo 'entrypoint: ignored, its name says neither .sh nor .sql' ;;
    esac
  done
}

first_start() {
  if [ -e "$unfinished" ]; then
    echo 'entrypoint: the first start was interrupted; it begins again'
    find "$PGDATA" -mindepth 1 ! -path "$unfinished" -delete
  fi
  [ ! -e "$PGDATA/PG_VERSION" ] || return 0
  mkdir -p "$unfinished"
  chmod 700 "$PGDATA"
  : "${POSTGRES_USER:=postgres}" "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
  : "${POSTGRES_DB:=$POSTGRES_USER}"
  export POSTGRES_USER POSTGRES_DB APEX_SIDECAR_ROLE="${APEX_SIDECAR_ROLE:-apex_sidecar}"

  make_cluster
  # On the socket alone: nobody connects to a database that is half made.
  pg_ctl --pgdata="$PGDATA" --silent --wait --options="$(printf '%q ' "$@" -c listen_addresses=)" start
  make_database
  run_init_files
  pg_ctl --pgdata="$PGDATA" --silent --wait --mode=fast stop
  rmdir "$unfinished"
  echo 'entrypoint: the database is made'
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
  for name in "${given[@]}"; do read_from_file "$name"; done
  [ "$(id -u)" -ne 0 ] || give_up_root "$@"
  first_start "${@:2}"
  # The server and what it runs have no use for them.
  unset "${given[@]}"
fi
exec "$@"
