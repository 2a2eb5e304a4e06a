#!/usr/bin/env bash
# Makes a Debian 13 with its PostgreSQL 17 and what an extension is built with. An apt source of Debian 13 on this machine
# would do too, and would draw the libraries of half of it along.
# usage: tools/matrix/postgres17.sh DIRECTORY     (as root)
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$1

tools/debian.sh "$root"
mkdir -p "$root/etc/postgresql-common"
echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
export DEBIAN_FRONTEND=noninteractive
inside() { chroot "$root" "$@" </dev/null; }
inside apt-get -q update
inside apt-get -q install -y --no-install-recommends ccache g++ libssl-dev make postgresql-17 postgresql-server-dev-17
inside apt-get clean
# Nothing is mounted in there, and a server's shared memory is files in this directory.
chmod 1777 "$root/dev/shm"
