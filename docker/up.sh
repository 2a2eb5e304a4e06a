#!/usr/bin/env bash
# Starts everything of compose.yaml and waits until it is healthy. Safe to run twice; arguments go to `docker compose up`.
#   docker/up.sh --secrets      only makes what is missing of docker/secrets
set -euo pipefail
cd "$(dirname "$0")"

secret() { head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n'; }
# put FILE WORDS...: writes a line a word, unless the file is there.
put() { [ -e "secrets/$1" ] || printf '%s\n' "${@:2}" >"secrets/$1"; }

# Nobody but the owner can enter the directory. The files in it are mounted one by one into containers whose users have
# other numbers than the owner, and have to be readable for them.
mkdir -p -m 700 secrets
umask 022
for name in postgres_password sidecar_password neo4j_password qdrant_api_key redis_password grafana_password; do
  put "$name" "$(secret)"
done
# What a store reads in a form of its own.
put neo4j_auth "neo4j/$(<secrets/neo4j_password)"
put qdrant_settings 'service:' "  api_key: '$(<secrets/qdrant_api_key)'"
put redis_settings "requirepass $(<secrets/redis_password)"
[ "${1:-}" != --secrets ] || exit 0

docker compose --file compose.yaml up --build --detach --wait "$@"
cat <<WORDS

  PostgreSQL   psql "host=127.0.0.1 dbname=app user=postgres"      password in $PWD/secrets/postgres_password
  console      http://127.0.0.1:9464/
  Grafana      http://127.0.0.1:3000/d/saga-execution             user admin, password in $PWD/secrets/grafana_password
WORDS
