#!/usr/bin/env bash
# Makes a minimal Debian 13 in a directory, out of Debian's packages.
# Slim as images are: no manual pages, no translations, no documents but licences.
# usage: tools/debian.sh DIRECTORY     (as root; APEX_DEBIAN_MIRROR other than this machine's)
set -euo pipefail
root=$1
release=trixie

# The addresses that this machine's own apt uses, so that a mirror or proxy serves here as well.
address() {
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | awk -v label="$1" '$1 == label {print $2; exit}'
}
mirror=${APEX_DEBIAN_MIRROR:-$(address Debian)}
mirror=${mirror:-http://deb.debian.org/debian}
security=$(address Debian-Security)
if [ -z "${http_proxy:-}" ]; then
  eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
  [ -z "${http_proxy:-}" ] || export http_proxy
fi

mkdir -p "$root"
chmod 755 "$root"
debootstrap --variant=minbase "$release" "$root" "${mirror%/}"

printf 'deb %s %s main\n' "${mirror%/}" "$release" "${mirror%/}" "$release-updates" >"$root/etc/apt/sources.list"
[ -z "$security" ] || printf 'deb %s %s main\n' "${security%/}" "$release-security" >>"$root/etc/apt/sources.list"
# Packages must not start what they install.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
printf 'path-exclude /usr/share/%s/*\n' doc info lintian locale man >"$root/etc/dpkg/dpkg.cfg.d/slim"
echo 'path-include /usr/share/doc/*/copyright' >>"$root/etc/dpkg/dpkg.cfg.d/slim"
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
rm -rf "$root"/usr/share/{info,lintian,locale,man}/* "$root"/var/{cache/apt,lib/apt/lists,log}/*
