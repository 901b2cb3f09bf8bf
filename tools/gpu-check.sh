#!/bin/sh
# The truth about the CUDA backend, on a machine with an NVIDIA GPU: builds plug-in and check, compares full-size networks with the reference kernels in
# every precision, looks for memory errors and races, measures batches 1 to 256 in turns with the same network in PyTorch on the same card where that is
# installed. Writes docs/results/gpu-<card>.md, .json and .svg. Exits 1 on any mismatch, and 2, naming all that is missing, where it cannot run.
#
# Needs nvcc and cuDNN (a Python environment's will do: CUDNN_HOME); no network, no other library.
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

# ---- what it takes ----

missing=0
lacks() { echo "gpu-check: missing: $*" >&2; missing=1; }
if ! command -v nvidia-smi >/dev/null; then
  lacks "nvidia-smi, which comes with NVIDIA's driver"
elif ! card=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || [ -z "$card" ]; then
  lacks "a GPU: nvidia-smi says \"$(nvidia-smi 2>&1 | head -n 1)\""
fi
command -v python3 >/dev/null || lacks "python3"
command -v make >/dev/null || lacks "make"
command -v cc >/dev/null || lacks "a C compiler (cc)"
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || lacks "nvcc, neither in PATH nor in /usr/local/cuda/bin"
if command -v make >/dev/null && ! found=$(make -s cuda-found); then
  lacks "$found"
fi
[ $missing = 0 ] || exit 2

sm=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$sm" = 90 ] && sm=90a
out=docs/results/gpu-$(printf %s "$card" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')$small
mkdir -p docs/results

B=${B:-build}
make -s -j"$(nproc)" B="$B" gpu-check SM="$sm"
RN_TUNING_CACHE=$B/tuning
export RN_TUNING_CACHE
mkdir -p "$RN_TUNING_CACHE"

# ---- right ----

verdict=0
{
  printf '# %s\n\nCommit %s, %s, driver %s, %s.\n\n' "$card" "$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" "$(date -u +%Y-%m-%d)" \
    "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)" "$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/CUDA \1/p')"
  printf '## Against the reference kernels\n\nRelative L2 error of the logits of 3 rows; the best class where the margin exceeds the error.\n\n'
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

# ---- fast ----

printf '\n## Speed\n' >>"$out.md"
if python3 tools/gpu/compare.py $small "$B/gpu-check" "$out.json" 2>"$B/compare.txt"; then
  python3 tools/gpu/report.py "$out.json" "$out.svg" >>"$out.md"
  printf '\n![Rows a second over the batch](%s)\n' "$(basename "$out.svg")" >>"$out.md"
else
  verdict=1
fi
sed -n 's/^\(PyTorch\|time\|compare\).*/\n&/p' "$B/compare.txt" >>"$out.md"
cat "$out.md"
exit $verdict
