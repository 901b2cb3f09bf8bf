#!/bin/sh
# Pins the image that k8s/overlays/production runs.
#
# usage: sh tools/set-image-digest.sh sha256:HEX
set -eu
cd "$(dirname "$0")/.."
file=k8s/overlays/production/kustomization.yaml
echo "${1:-}" | grep -qxE 'sha256:[0-9a-f]{64}' || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
sed -i "s/^\( *digest: \)sha256:[0-9a-f]*$/\1$1/" "$file"
grep -q "digest: $1\$" "$file" || { echo "set-image-digest: no digest in $file to replace" >&2; exit 1; }
