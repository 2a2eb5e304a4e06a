#!/usr/bin/env bash
# Installs the built extension. PostgreSQL before version 18 loads extensions from its own directories only, so the files
# have to go there; nothing is touched when the same files are installed already.
set -euo pipefail
cd "$(dirname "$0")/.."

pg_config=${PG_CONFIG:-pg_config}
library=$("$pg_config" --pkglibdir)
share=$("$pg_config" --sharedir)/extension
major=$("$pg_config" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
built=build/extension-pg$major

same=yes
cmp -s "$built/apex_saga.so" "$library/apex_saga.so" || same=no
for file in extension/apex_saga.control "$built"/apex_saga--*.sql extension/sql/released/*.sql; do
  [ ! -e "$file" ] || cmp -s "$file" "$share/$(basename "$file")" || same=no
done
[ "$same" = no ] || exit 0

echo "install-extension: putting apex_saga into PostgreSQL $major's own directories:"
echo "  $library"
echo "  $share"
as_root=()
if [ ! -w "$library" ] || [ ! -w "$share" ]; then
  command -v sudo >/dev/null || { echo "install-extension: needs root or sudo" >&2; exit 1; }
  as_root=(sudo)
fi
"${as_root[@]}" make -s -C extension install PG_CONFIG="$pg_config" >build/install-extension.log 2>&1 ||
  { cat build/install-extension.log >&2; exit 1; }
