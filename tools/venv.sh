#!/usr/bin/env bash
# Makes build/venv from tools/requirements.txt; the package `stores` (tools/stores) can be imported in it.
# A stamp of the requirements makes the second run instant and a changed list a new installation.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=build/venv
stamp=$venv/requirements.stamp

# The system's Python first: one found in PATH may be a version manager's that lacks venv.
python=
for candidate in /usr/bin/python3 python3; do
  if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || { echo "venv: needs Python 3.11 or newer with venv: run tools/setup.sh" >&2; exit 1; }

mkdir -p build
exec 9>build/venv.lock
flock 9
wanted=$({ "$python" --version; pwd; cat tools/requirements.txt tools/venv.sh; } | sha256sum | cut -d' ' -f1)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

echo "venv: installing the Python packages of tools/requirements.txt"
rm -rf "$venv"
"$python" -m venv "$venv"
log=build/venv.log
"$venv/bin/python" -m pip install --disable-pip-version-check --retries 10 \
  --requirement tools/requirements.txt >"$log" 2>&1 ||
  { tail -20 "$log" >&2; echo "venv: pip failed; the whole log is $log" >&2; exit 1; }
pwd | sed 's|$|/tools|' >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/apex.pth"
echo "$wanted" >"$stamp"
