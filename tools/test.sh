#!/bin/sh
# All tests: C units, every kernel against its reference, the picture front end and whole networks against TensorFlow, the server end to end, the same
# under sanitizers. Installs what it needs: Debian packages, and TensorFlow in a virtual environment under build/.
#
# usage: sh tools/test.sh [--quick]      --quick leaves out sanitizers, stand-ins for AVX-512 and full-size networks
# Minutes of load are not part of it: build/venv/bin/python -m pytest -q -s -m soak tests
set -eu
cd "$(dirname "$0")/.."

quick=
case ${1:-} in
--quick) quick=1 ;;
"") ;;
*) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

started=$(date +%s)
step() { printf '\n\033[1m[%4d s] %s\033[0m\n' "$(($(date +%s) - started))" "$*"; }

step "What the tests need"
sh tools/install-deps.sh test
venv=${RN_VENV:-build/venv}
if ! cat tests/requirements*.txt | cmp -s - "$venv/installed.txt"; then
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r tests/requirements-no-deps.txt
  cat tests/requirements*.txt >"$venv/installed.txt"
fi
python=$venv/bin/python
export TF_CPP_MIN_LOG_LEVEL=3 PYTHONDONTWRITEBYTECODE=1

step "Build"
make -s -j"$(nproc)" all tests

step "C units and kernels"
make -s check

if [ -z "$quick" ] && grep -q ' avx2 ' /proc/cpuinfo && ! grep -q ' avx512_bf16 ' /proc/cpuinfo; then
  step "AVX-512 kernels, over stand-ins: this processor lacks some of it"
  make -s -j"$(nproc)" emulated
  RN_BUILD=build/emulated "$python" -m pytest -q -rs tests/tools/resnet_bench_test.py -k kernels
fi

# Test files run side by side, in the order of tests/conftest.py: most of the time a test waits for its server. What measures time runs alone.
side_by_side="-n 3 --dist loadfile --no-loadscope-reorder"

step "End to end and against TensorFlow"
if [ -n "$quick" ]; then
  "$python" -m pytest -q -rs $side_by_side tests -m "not slow and not speed and not soak"
  exit
fi
"$python" -m pytest -q -rs $side_by_side tests -m "not speed and not soak"
"$python" -m pytest -q -rs tests -m "speed and not soak"

step "AddressSanitizer and UndefinedBehaviorSanitizer"
make -s -j"$(nproc)" asan
make -s B=build/asan SANITIZE=-fsanitize=address,undefined check
# The emulated GPU is too slow under sanitizers to be served from: its C tests have just run.
RN_BUILD=build/asan "$python" -m pytest -q -rs $side_by_side tests/http tests/loader tests/oracle --ignore=tests/http/gpu_test.py \
  -m "not slow and not speed and not soak"

step "ThreadSanitizer"
make -s -j"$(nproc)" tsan
# Whatever threads share: models that come and go, connections, metrics, logs, both protocols. The rest takes the same ways.
RN_BUILD=build/tsan "$python" -m pytest -q -rs $side_by_side -m "not slow and not speed and not soak" tests/http/models_test.py \
  tests/http/server_test.py tests/http/grpc_server_test.py tests/http/grpc_health_test.py \
  tests/http/grpc_reflection_test.py tests/http/metrics_test.py tests/http/access_log_test.py

step "All passed"
