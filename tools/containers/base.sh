#!/usr/bin/env bash
# Makes the image that the Dockerfiles start from, debian:trixie-slim, out of Debian's packages: no registry is asked.
# usage: tools/containers/base.sh     (as root; APEX_CONTAINERS as in ./docker; APEX_DEBIAN_MIRROR as in ../debian.sh)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
image=docker.io/library/debian:trixie-slim

root=$(mktemp -d "$APEX_CONTAINERS/base.XXXXXX")
trap 'rm -rf "$root"' EXIT
"$here/../debian.sh" "$root"
tar -C "$root" -c . | "$here/docker" import - "$image"
