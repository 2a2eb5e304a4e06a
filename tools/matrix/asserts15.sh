#!/usr/bin/env bash
# Builds PostgreSQL 15 from Debian's source with its assertions enabled, which Debian's packages are without.
# usage: tools/matrix/asserts15.sh DIRECTORY
set -euo pipefail
prefix=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The address that this machine's own apt uses, asked for sources as well; the machine's own lists stay as they are.
mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" {print $2; exit}')
mkdir -p lists/partial cache
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} bookworm main" >sources.list
apt=(apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
  -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" source --download-only postgresql-15
dpkg-source --skip-patches --extract postgresql-15_*.dsc source

cd source
# Without what the tests have no use for, so that nothing has to be installed for it.
./configure -q --prefix="$prefix" --enable-cassert --enable-debug --without-icu --without-readline --without-zlib \
  CC='ccache gcc' CXX='ccache g++' CFLAGS='-O1 -g1'
# PostgreSQL makes its generated headers when its make is the outermost one.
unset MAKELEVEL MAKEFLAGS MFLAGS
make -s -j "$(nproc)" install
make -s -C src/test/isolation install
