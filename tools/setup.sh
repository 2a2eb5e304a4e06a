#!/usr/bin/env bash
# Installs what the build and the tests need on Debian 12, and starts nothing: Debian's server packages would
# start their own PostgreSQL, Redis and Prometheus on the well-known ports, which this project never uses.
# Safe to run twice; with everything present it does nothing and needs no network.
# usage: tools/setup.sh [LIST]     (LIST defaults to tools/packages.txt)
set -euo pipefail
cd "$(dirname "$0")/.."

list=${1:-tools/packages.txt}
# One package a line; a '#' starts a comment.
mapfile -t wanted < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -e 's/[[:space:]]//g' "$list")
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: needs root or sudo to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  # postgresql-common creates and starts a cluster on 5432 as soon as a server is installed, unless told not to.
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  log=$(mktemp)
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 "$@" </dev/null >>"$log" 2>&1; }
  { apt update && apt install -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"; } ||
    { tail -40 "$log" >&2; echo "setup: apt-get failed; the whole log is $log" >&2; exit 1; }
  rm -f "$log"
fi
