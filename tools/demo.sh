#!/bin/sh
# From a fresh clone to the right label over HTTP: installs what the build needs, builds, converts the bundled SavedModel, serves it on a free port of the
# loopback interface, posts real pictures to it and prints what came back. Run again, it takes seconds.
#
# usage: sh tools/demo.sh [--keep] [PICTURE...]      --keep leaves the server running and says how to call and stop it
set -eu

# Pictures are named from where the caller stands.
keep=
for argument; do
  shift
  case $argument in
  --keep) keep=1; continue ;;
  -*) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  /*) ;;
  *) argument=$PWD/$argument ;;
  esac
  [ -r "$argument" ] || { echo "no such picture: $argument" >&2; exit 2; }
  set -- "$@" "$argument"
done
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- tests/data/pictures/ankle_boot.png tests/data/pictures/bag.jpg tests/data/pictures/dress.png

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

step "1. What the build needs"
sh tools/install-deps.sh

step "2. Build"
make -s -j"$(nproc)"

work=build/demo.$$ # two demos may run at once
mkdir -p "$work/fashion/1"
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }; rm -rf "$work"; }
trap stop EXIT
trap 'exit 130' INT TERM
step "3. Convert the SavedModel: resnet-convert tests/data/fashion_resnet101/1 $work/fashion/1/model.safetensors"
build/resnet-convert tests/data/fashion_resnet101/1 "$work/fashion/1/model.safetensors"
build/resnet-convert show "$work/fashion/1/model.safetensors"

step "4. Serve it"
log=$work/server.log
build/resnetd --model_name=fashion --model_base_path="$work/fashion" --rest_api_port=0 --monitoring_port=0 --port=0 >"$log" 2>&1 &
server=$!
url=
for _ in $(seq 300); do
  url=$(sed -n 's/^resnetd: ready: REST on port \([0-9]*\)$/http:\/\/localhost:\1/p' "$log")
  [ -z "$url" ] || break
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the server was not ready within 30 seconds; its log:" >&2; cat "$log" >&2; exit 1; }
cat "$log"

# One line a label from {"predictions": [{"labels": [...], "probabilities": [...]}]}
table() {
  tr -d '\n' | sed -n 's/.*"labels": *\[\([^]]*\)\].*"probabilities": *\[\([^]]*\)\].*/\1|\2/p' |
    awk -F'|' '{ n = split($1, label, ","); split($2, p, ",")
      for (i = 1; i <= n; i++) { gsub(/^ *"|"$/, "", label[i]); bar = substr("##############################", 1, int(p[i] * 30 + 0.5))
        printf "   %-12s %8.4f %%  %s\n", label[i], 100 * p[i], bar } }'
}

step "5. Ask it: POST $url/v1/models/fashion:predict"
for picture; do
  printf '{"signature_name": "serving_preprocess", "instances": [{"b64": "%s"}]}' "$(base64 -w 0 "$picture")" >"$work/request.json"
  curl -sS -X POST --data-binary @"$work/request.json" "$url/v1/models/fashion:predict" >"$work/answer.json"
  echo "$picture"
  table <"$work/answer.json" >"$work/answer.txt"
  [ -s "$work/answer.txt" ] || { cat "$work/answer.json" >&2; exit 1; }
  cat "$work/answer.txt"
done

if [ -n "$keep" ]; then
  trap - EXIT
  step "The server goes on running"
  echo "call it:  curl -X POST --data-binary @$work/request.json $url/v1/models/fashion:predict"
  echo "stop it:  kill $server"
fi
