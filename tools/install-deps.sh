#!/bin/sh
# Installs the Debian packages that building and testing resnetd takes. Safe to run again: it installs only what is missing.
#
# usage: sh tools/install-deps.sh [build|test]      build: what the programs need; test: that and what the tests need (default: build)
set -eu

BUILD="gcc make libc6-dev pkg-config libh2o-evloop-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler libopenblas-dev libjpeg-dev libpng-dev libgif-dev
libwebp-dev libjansson-dev libssl-dev zlib1g-dev libcurl4-openssl-dev libexpat1-dev curl ca-certificates"
TEST="git dpkg-dev mmdebstrap openssl libcmocka-dev libsimde-dev python3 python3-venv dataset-fashion-mnist bubblewrap shellcheck binutils
chromium fonts-dejavu-core zsh"

case ${1:-build} in
build) wanted=$BUILD ;;
test) wanted="$BUILD $TEST" ;;
*) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
wanted=$(echo $wanted)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: this is not a Debian system. resnetd is built and tested on Debian 12; install what these packages hold, then run make:" >&2
  echo "  $wanted" >&2
  exit 1
fi

missing=
for package in $wanted; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
# promtool alone out of Prometheus' package: installing that would start a service and bring a web page's libraries.
promtool=
if [ "${1:-build}" = test ] && ! command -v promtool >/dev/null; then promtool=/usr/local/bin/promtool; fi
if [ -z "$missing$promtool" ]; then
  echo "install-deps: everything is installed"
  exit 0
fi

echo "install-deps: installing$missing${promtool:+ promtool}"
if [ "$(id -u)" = 0 ]; then
  as_root=env
elif command -v sudo >/dev/null; then
  as_root="sudo env"
else
  echo "install-deps: needs root or sudo to run: apt-get install$missing" >&2
  exit 1
fi
$as_root apt-get update -qq
if [ -n "$missing" ]; then $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; fi
if [ -n "$promtool" ]; then
  folder=$(mktemp -d)
  (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool)
  $as_root install -m 755 "$folder/usr/bin/promtool" "$promtool"
  rm -r "$folder"
fi
