#!/bin/sh
# The truth about the CUDA backend, on a machine with an NVIDIA GPU: builds plug-in and check, compares full-size networks with the reference kernels in
# every precision, looks for memory errors and races, measures batches 1 to 256, and the same network in PyTorch on the same card where that
# is installed. Writes docs/results/gpu-<card>.md and .json. Exits 1 on any mismatch.
#
# Needs nvcc and cuDNN (a Python environment's will do); no network, no other library.
#
# usage: sh tools/gpu-check.sh [--small]      --small: thin networks, to see that everything works
set -eu
cd "$(dirname "$0")/.."

small=
case ${1:-} in
--small) small=--small ;;
"") ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

command -v nvidia-smi >/dev/null || { echo "gpu-check: no nvidia-smi on this machine" >&2; exit 1; }
card=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
sm=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$sm" = 90 ] && sm=90a
slug=$(printf %s "$card" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')$small
out=docs/results/gpu-$slug
mkdir -p docs/results

B=${B:-build}
make -s -j"$(nproc)" B="$B" gpu-check SM="$sm"
RN_TUNING_CACHE=$B/tuning
export RN_TUNING_CACHE
mkdir -p "$RN_TUNING_CACHE"

verdict=0
{
  printf '# %s\n\nCommit %s, %s, driver %s, %s.\n\n' "$card" "$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" "$(date -u +%Y-%m-%d)" \
    "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)" "$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/CUDA \1/p')"
  printf '## Against the reference kernels\n\nRelative L2 error of the logits of 3 pictures; the best class where the margin exceeds the error.\n\n'
  printf '| network | precision | error | allowed | same class | |\n|---|---|---|---|---|---|\n'
} >"$out.md"
"$B/gpu-check" verify $small >"$B/verify.txt" || verdict=1
cat "$B/verify.txt" >>"$out.md"

printf '\n## Sanitizers\n\n' >>"$out.md"
for tool in memcheck racecheck; do
  if ! command -v compute-sanitizer >/dev/null; then
    echo "- $tool: SKIP, no compute-sanitizer on this machine" >>"$out.md"
  elif compute-sanitizer --tool "$tool" --error-exitcode 9 "$B/gpu-check" verify --small >"$B/$tool.txt" 2>&1; then
    echo "- $tool: clean, thin networks" >>"$out.md"
  else
    echo "- $tool: **$(tail -n 1 "$B/$tool.txt")**" >>"$out.md"
    verdict=1
  fi
done

"$B/gpu-check" bench $small >"$out.json" || verdict=1
python3 tools/gpu/torch_bench.py $small >>"$out.json" 2>"$B/torch.txt" || printf '\nPyTorch: SKIP, %s\n' "$(tail -n 1 "$B/torch.txt")" >>"$out.md"
{
  printf '\n## Speed\n\nRows per second from uint8 pictures on the host to probabilities on the host, median of runs.\n\n'
  python3 tools/gpu/table.py <"$out.json"
} >>"$out.md"
cat "$out.md"
exit $verdict
