#!/bin/bash
# Succeeds when the sidecar answers. bash opens the connection itself: the image has no HTTP client.
# usage: apex-healthcheck [PATH]     (PATH defaults to /livez: a store that is down is not mended by a new container)
set -euo pipefail

address=${APEX_HTTP_LISTEN:?}
host=${address%:*}
# A wildcard is an address to listen on, not one to connect to.
case $host in 0.0.0.0) host=127.0.0.1 ;; '[::]' | '') host=::1 ;; '['*) host=${host:1:-1} ;; esac

exec 3<>"/dev/tcp/$host/${address##*:}"
printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${1:-/livez}" "$address" >&3
read -r -t 3 _ status _ <&3
[ "$status" = 200 ]
