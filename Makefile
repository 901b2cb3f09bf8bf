# resnetd: the only build file. `make` builds the programs, `make check` the C tests, `make help` lists the rest.
#
# Sources are found by folder: a new file needs no line here. Only kernels/cpu/<isa>/ and the loops of tools/bench/peak/ are compiled with that
# instruction set's flags, so that everything else runs on any processor of the architecture.

B ?= build
CC ?= cc
OPT ?= -O3
SANITIZE ?=

PKGS := libprotobuf-c jansson libpng libjpeg libwebp libwebpdemux openssl zlib libcurl expat
HTTP_PKG := libh2o-evloop grpc
MISSING := $(strip $(foreach p,$(PKGS) openblas $(HTTP_PKG),$(shell pkg-config --exists $(p) || echo $(p))))
ifneq ($(filter-out help clean format cuda cuda-found gpu-check,$(or $(MAKECMDGOALS),all)),)
ifneq ($(MISSING),)
$(error not found by pkg-config: $(MISSING). `sh tools/install-deps.sh` installs what the build needs)
endif
endif

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
ISAS := $(if $(filter x86_64,$(ARCH)),avx2 avx512 avx512_vnni avx512_bf16 amx)
ISA_FLAGS_avx2 := -mavx2 -mfma
ISA_FLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
ISA_FLAGS_avx512_vnni := $(ISA_FLAGS_avx512) -mavx512vnni
ISA_FLAGS_avx512_bf16 := $(ISA_FLAGS_avx512) -mavx512bf16
ISA_FLAGS_amx := $(ISA_FLAGS_avx512_bf16) -mamx-tile -mamx-bf16 -mamx-int8

# -ffp-contract=off: results that must equal TensorFlow's to the bit may not get fused multiply-adds that nobody wrote; kernels write theirs.
CFLAGS += -std=c17 $(OPT) -g -Wall -Wextra -Wpointer-arith -Werror -ffp-contract=off -fno-math-errno -fvisibility=hidden $(SANITIZE)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) openblas $(HTTP_PKG) 2>/dev/null)
CPPFLAGS += -I. -I$(B)/gen -D_GNU_SOURCE $(PKG_CFLAGS)
# h2o's header chooses its event loop by this macro: it has to agree with the library that is linked.
CPPFLAGS += -DH2O_USE_LIBUV=0
LDFLAGS += -pthread $(SANITIZE)
LDLIBS := $(shell pkg-config --libs $(PKGS) openblas) -lgif -ldl -lm
# libgrpc's pkg-config file lists what a static link would take; the shared library brings its own.
HTTP_LDLIBS := $(shell pkg-config --libs libh2o-evloop) -lgrpc -lgpr

VERSION := 0.1.0
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

proto_c = $(patsubst %.proto,$(B)/gen/%.pb-c.c,$(wildcard $(1)/proto/*.proto))
LOADER_PROTO_C := $(call proto_c,loader)
HTTP_PROTO_C := $(call proto_c,http)

KERNELS_SRC := $(wildcard kernels/base/*.c kernels/ref/*.c kernels/cpu/*.c kernels/text/*.c kernels/image/*.c) \
    $(foreach i,$(ISAS),$(wildcard kernels/cpu/$(i)/*.c))
ENGINE_SRC := $(wildcard engine/*.c engine/cpu/*.c engine/image/*.c)
LOADER_SRC := $(wildcard loader/*.c)
HTTP_SRC := $(filter-out http/resnetd.c,$(wildcard http/*.c))
TEST_SRC := $(filter-out tests/cuda/% tests/cuda_libraries/%,$(wildcard tests/*/*_test.c))
TEST_SUPPORT_SRC := $(wildcard tests/support/*.c)
TEST_TOOL_SRC := $(wildcard tests/tools/*.c)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
KERNELS := $(B)/libkernels.a
ENGINE := $(B)/libengine.a
LOADER := $(B)/libloader.a
HTTP := $(B)/libhttp.a
TEST_SUPPORT := $(if $(TEST_SUPPORT_SRC),$(B)/libtestsupport.a)

TOOLS := $(patsubst tools/%.c,%,$(wildcard tools/resnet_*.c))
PROGRAMS := $(if $(wildcard http/resnetd.c),$(B)/resnetd) $(foreach t,$(TOOLS),$(B)/$(subst _,-,$(t)))
# Names by which TensorFlow Serving's image starts its server.
LINKS := $(addprefix $(B)/,tensorflow_model_server tf_serving_entrypoint.sh)
TESTS := $(TEST_SRC:%.c=$(B)/%)
# Fuzz targets: `make check` replays each one's corpus, `make fuzz` links them with libFuzzer.
FUZZ_SRC := $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_REPLAYS := $(FUZZ_SRC:%.c=$(B)/%)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%_fuzz.c=$(B)/%-fuzzer)
# Programs that tests written in Python drive.
TEST_TOOLS := $(TEST_TOOL_SRC:%.c=$(B)/%)

# ---- CUDA: found, never required ----
#
# Where nvcc and cuDNN are found, `make` builds the plug-in that the programs open when they are asked for a GPU. The toolkit's headers alone
# are enough for the tests: kernels and backend are compiled for the host, over the stand-ins of tests/cuda_emulation.
ifndef CUDA_HOME
CUDA_HOME := $(patsubst %/bin/nvcc,%,$(realpath $(or $(shell command -v nvcc 2>/dev/null),$(wildcard /usr/local/cuda/bin/nvcc))))
endif
ifndef CUDNN_HOME
CUDNN_HOME := $(patsubst %/include/cudnn.h,%,$(firstword $(wildcard $(CUDA_HOME:%=%/include/cudnn.h) /usr/include/cudnn.h)))
CUDNN_HOME := $(or $(CUDNN_HOME),$(shell python3 -c 'import nvidia.cudnn as c; print(c.__path__[0])' 2>/dev/null))
endif
# What a toolkit lacks may lie in a Python environment too: nvidia/cublas and nvidia/cuda_nvrtc, or nvidia/cu13 with everything.
python_nvidia = $(if $(wildcard $(CUDA_HOME)/include/cuda_runtime_api.h),$(shell python3 -c \
    'import glob, nvidia; print(*[f for p in nvidia.__path__ for f in glob.glob(p + "/*/$(1)")])' 2>/dev/null))
ifndef CUBLAS_HOME
CUBLAS_HOME := $(patsubst %/include/cublasLt.h,%,$(firstword $(or $(wildcard $(CUDA_HOME:%=%/include/cublasLt.h)),$(call python_nvidia,include/cublasLt.h))))
endif
CUBLAS_LIBRARY := $(firstword $(wildcard $(CUBLAS_HOME)/lib64/libcublasLt.so $(CUBLAS_HOME)/lib/libcublasLt.so.[0-9]*))
NVRTC_LIBRARY := $(firstword $(or $(wildcard $(CUDA_HOME)/lib64/libnvrtc.so.[0-9]*),$(call python_nvidia,lib/libnvrtc.so.[0-9]*)))
NVCC := $(wildcard $(CUDA_HOME:%=%/bin/nvcc))
CUDA_INCLUDE := $(addprefix -isystem ,$(sort $(CUDA_HOME:%=%/include) $(filter-out /usr/include,$(CUDNN_HOME:%=%/include) $(CUBLAS_HOME:%=%/include))))
CUDA_MISSING := $(strip $(if $(wildcard $(CUDA_HOME:%=%/include/cuda_runtime_api.h)),,CUDA toolkit (CUDA_HOME="$(CUDA_HOME)")) \
    $(if $(wildcard $(CUDNN_HOME:%=%/include/cudnn.h)),,cuDNN (CUDNN_HOME="$(CUDNN_HOME)")) \
    $(if $(wildcard $(CUBLAS_HOME:%=%/include/cublasLt.h)),,cuBLASLt (CUBLAS_HOME="$(CUBLAS_HOME)")))
CUDA_SKIP := $(if $(CUDA_MISSING),not found: $(CUDA_MISSING),$(if $(findstring thread,$(SANITIZE)),\
    ThreadSanitizer does not know the fibers of the emulation))

CUDA_KERNELS_SRC := $(wildcard kernels/cuda/*.cu)
CUDA_HOST_SRC := $(wildcard kernels/cuda/*.c engine/cuda/*.c)
CUDA_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/cuda/*_test.c)) $(patsubst %.cpp,$(B)/%,$(wildcard tests/cuda_emulation/*_test.cpp))
CUDNN_FOLDERS := $(addprefix $(CUDNN_HOME)/,lib lib64 lib/x86_64-linux-gnu lib/aarch64-linux-gnu)
CUDNN_LIBRARY := $(firstword $(wildcard $(CUDNN_FOLDERS:%=%/libcudnn.so.9)))
space := $(subst ,, )
CUDA_RPATH := $(subst $(space),:,$(sort $(CUDA_HOME)/lib64 $(patsubst %/,%,$(dir $(CUDNN_LIBRARY) $(CUBLAS_LIBRARY) $(NVRTC_LIBRARY)))))
# These ask the real cuDNN, which plans for devices that are only described.
CUDNN_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/cuda_libraries/*_test.c))
CUDNN_SKIP := $(or $(CUDA_SKIP),$(if $(SANITIZE),the library is not built for sanitizers),\
    $(if $(CUDNN_LIBRARY),,no libcudnn.so.9 in $(CUDNN_HOME)))
TESTS += $(if $(CUDA_SKIP),,$(CUDA_TESTS)) $(if $(CUDNN_SKIP),,$(CUDNN_TESTS))
# A server with emulated GPUs, for tests alone: the same program beside a plug-in whose libraries are the stand-ins.
EMULATED := $(B)/tests/emulated
TEST_TOOLS += $(if $(CUDA_SKIP),,$(addprefix $(EMULATED)/,resnetd resnet-bench gpu-check libresnetd-cuda.so libnvidia-ml.so.1))

# The plug-in: native code for each architecture and PTX of the last one, so that newer devices work too. All six take some 45 s of one
# processor; `make SM=90a` is for one.
SM ?= 80 86 89 90a 100 120
PLUGIN := $(B)/libresnetd-cuda.so
PLUGIN_MISSING := $(strip $(CUDA_MISSING) $(if $(NVCC),,nvcc in $(CUDA_HOME)/bin) $(if $(CUDNN_LIBRARY),,libcudnn.so.9 in $(CUDNN_HOME)) \
    $(if $(CUBLAS_LIBRARY),,libcublasLt in $(CUBLAS_HOME)))
PLUGIN_SKIP := $(or $(if $(PLUGIN_MISSING),not found: $(subst ",,$(PLUGIN_MISSING))),$(if $(SANITIZE),its libraries are not built for sanitizers))
comma := ,
CUDA_FOUND := $(if $(PLUGIN_SKIP),no plug-in$(comma) $(PLUGIN_SKIP),\
    plug-in for $(SM:%=sm_%) (SM="$(SM)")$(comma) toolkit $(CUDA_HOME)$(comma) cuDNN $(CUDNN_HOME))

.PHONY: all check tests run-tests asan tsan emulated clean help format detected
.SECONDARY:
all: detected $(PROGRAMS) $(LINKS) $(if $(PLUGIN_SKIP),,$(PLUGIN))

detected:
	@echo "compiler    $$($(CC) --version | head -n 1)"
	@echo "target      $(ARCH), hand-written kernels: $(or $(ISAS),none: reference kernels and OpenBLAS)"
	@echo "libraries   $(foreach p,$(PKGS) openblas $(HTTP_PKG),$(p) $(shell pkg-config --modversion $(p)))"
	@echo 'cuda        $(strip $(CUDA_FOUND))'
	@echo "output      $(B)/$(if $(SANITIZE), with $(SANITIZE))"

# They start first, so that no processor waits for one of them alone.
LONG_TESTS := $(patsubst %,$(B)/tests/%_test,engine/cpu_backend engine/cpu_deterministic cuda/cuda_explain cuda/cuda_backend kernels/conv2d)
tests: $(TESTS) $(TEST_TOOLS) $(FUZZ_REPLAYS)
# The library path is for sanitizers, whose own dlopen does not know a program's RPATH.
run-tests: export LD_LIBRARY_PATH := $(EMULATED):$(LD_LIBRARY_PATH)
run-tests: $(TESTS)
	@rm -f $(B)/failed-tests
	@printf '%s\n' $(filter $(LONG_TESTS),$(TESTS)) $(sort $(filter-out $(LONG_TESTS),$(TESTS))) | xargs -P $$(nproc) -I{} sh -c 'start=$$(date +%s); \
	    text=$$({} 2>&1); status=$$?; printf "== %s, %d s\n%s\n" {} $$(($$(date +%s) - start)) "$$text"; \
	    [ $$status -eq 0 ] || echo "{}: exit status $$status" >>$(B)/failed-tests'
	@if [ -s $(B)/failed-tests ]; then echo "failed, each under its == line above:"; cat $(B)/failed-tests; exit 1; fi
check: tests run-tests
	@set -e; for t in $(FUZZ_SRC:tests/fuzz/%_fuzz.c=%); do echo "== fuzz corpus $$t"; $(B)/tests/fuzz/$${t}_fuzz tests/fuzz/corpus/$$t; done
	@$(if $(CUDA_SKIP),echo 'SKIP $(words $(CUDA_TESTS)) test programs in tests/cuda and tests/cuda_emulation: $(CUDA_SKIP)')
	@$(if $(CUDNN_SKIP),echo 'SKIP $(words $(CUDNN_TESTS)) test programs in tests/cuda_libraries: $(CUDNN_SKIP)')

asan:
	$(MAKE) B=$(B)/asan OPT="-O1" SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" all tests
tsan:
	$(MAKE) B=$(B)/tsan OPT="-O1" SANITIZE="-fsanitize=thread -fno-omit-frame-pointer" all tests

# AVX-512 kernels over stand-ins, and a processor that seems to have all of AVX-512: what is compiled so takes the place of what the libraries hold. The
# tests are those of everything that kernels of another instruction set change. At -O3, or with the whereabouts of all variables for a debugger, the
# stand-ins take minutes a file.
STANDIN_ISAS := $(filter-out avx2,$(ISAS))
STANDIN_FLAGS := -O1 -fno-var-tracking -mavx2 -mfma -mamx-tile -mamx-bf16 -mamx-int8 -Wno-psabi -include tests/support/avx512_standin.h
standin_obj = $(patsubst %.c,$(B)/emulated/obj/%.o,$(1))
STANDIN_OBJ := $(call standin_obj,kernels/base/cpu_features.c $(foreach i,$(STANDIN_ISAS),$(wildcard kernels/cpu/$(i)/*.c)))
ISA_TESTS := $(patsubst %,$(B)/emulated/tests/kernels/%_test,amx amx_bytes bytes conv2d image_kernels pointwise text_kernels winograd_filter) \
    $(patsubst %,$(B)/emulated/tests/engine/%_test,cpu_backend cpu_deterministic explain quantize winograd_choice)
emulated: $(B)/emulated/resnet-bench
	$(MAKE) TESTS='$(ISA_TESTS)' LONG_TESTS='$(filter %/cpu_backend_test %/cpu_deterministic_test %/conv2d_test,$(ISA_TESTS))' run-tests
$(B)/emulated/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(STANDIN_FLAGS) -MMD -MP -c -o $@ $<
$(B)/emulated/tests/%: $(B)/obj/tests/%.o $(STANDIN_OBJ) $(call standin_obj,tests/support/amx_bf16_kernel.c tests/support/amx_u8_kernel.c) \
    $(TEST_SUPPORT) $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(HTTP_LDLIBS) $(LDLIBS)
$(B)/emulated/resnet-bench: $(call obj,tools/resnet_bench.c $(wildcard tools/bench/*.c) tools/bench/peak/avx2.c) $(STANDIN_OBJ) \
    $(call standin_obj,$(wildcard $(STANDIN_ISAS:%=tools/bench/peak/%.c))) $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	$(CC) $(LDFLAGS) -o $@ $^ $(HTTP_LDLIBS) $(LDLIBS)

fuzz:
	$(MAKE) B=$(B)/fuzz CC=clang OPT="-O1" SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" fuzzers
fuzzers: $(FUZZERS)
.PHONY: fuzz fuzzers

# What is installed, and nothing of what it takes to build: the plug-in too, where there is one.
PREFIX ?= /usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 --strip $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions man/man1)
	for p in $(notdir $(PROGRAMS)); do install -m 644 tools/completion/resnetd.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p; done
	install -m 644 tools/completion/_resnetd $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(if $(PLUGIN_SKIP),,install -D -m 644 --strip $(PLUGIN) $(DESTDIR)$(PREFIX)/lib/$(notdir $(PLUGIN)))
deb: all
	@rm -rf $(B)/deb
	@$(MAKE) -s install DESTDIR=$(B)/deb/root PREFIX=/usr >/dev/null
	@sh tools/make-deb.sh $(B)
.PHONY: install deb

format:
	git clang-format --force --extensions c,h
clean:
	rm -rf $(B)
help:
	@echo "make            programs in $(B)/, and the GPU plug-in where nvcc and cuDNN are found: SM=\"$(SM)\" says for which architectures"
	@echo "make check      C unit tests"
	@echo "make cuda       the GPU plug-in alone; says what is missing for it"
	@echo "make asan|tsan  programs and tests with sanitizers, in $(B)/asan, $(B)/tsan"
	@echo "make emulated   C tests of what has AVX-512 kernels, over stand-ins, on a processor that has only AVX2"
	@echo "make fuzz       libFuzzer programs in $(B)/fuzz, one for each tests/fuzz/*_fuzz.c (clang)"
	@echo "make install    programs and plug-in to DESTDIR PREFIX/bin and PREFIX/lib (PREFIX=$(PREFIX));   make deb  a Debian package"
	@echo "make format     clang-format over the lines that differ from the last commit;   make clean"

$(B)/gen/%.pb-c.c: %.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=. --c_out=$(B)/gen $<

$(B)/obj/%.o: %.c | $(LOADER_PROTO_C) $(HTTP_PROTO_C)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(ISA_FLAGS) -MMD -MP -c -o $@ $<
$(B)/gen/%.o: $(B)/gen/%.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# What is embedded with .incbin, which compilers do not report as a dependency: the description of REST, and that of gRPC, in the form in which
# clients ask for it.
$(B)/obj/http/openapi.o: http/openapi.json
$(B)/obj/http/grpc_descriptors.o: $(B)/gen/http/api.pb
$(B)/gen/http/api.pb: $(wildcard http/api/*.proto http/api/google/protobuf/*.proto)
	@mkdir -p $(@D)
	protoc-c --proto_path=http/api --descriptor_set_out=$@ $^
$(B)/obj/http/page.o: $(wildcard http/page/*)

define isa_rule
$(call obj,$(wildcard kernels/cpu/$(1)/*.c tools/*/*/$(1).c)) $(patsubst %,$(B)/plugin/%.o,$(wildcard kernels/cpu/$(1)/*.c)): ISA_FLAGS := $(ISA_FLAGS_$(1))
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))
# Most of what tests compute, so that these are compiled for speed in every build: at -O1 their sums leave the registers. The large AVX-512 kernels are
# not, which take minutes with instrumentation.
$(call obj,$(wildcard kernels/ref/*.c) kernels/cpu/avx2/conv2d_f32_6x16.c): override OPT := -O3
# Clang takes minutes for a large kernel with its instrumentation, and no fuzz target comes by one.
$(if $(findstring fuzzer,$(SANITIZE)),$(eval $(call obj,$(wildcard kernels/cpu/*/*.c)): override SANITIZE :=))
# They contain the kernels' sources, over stand-ins.
$(B)/obj/tests/support/amx_bf16_kernel.o $(B)/obj/tests/support/amx_u8_kernel.o: ISA_FLAGS := $(ISA_FLAGS_amx)

# The version and commit live in one object, which is rebuilt when either changes.
$(B)/obj/kernels/base/version.o $(B)/plugin/kernels/base/version.c.o: CPPFLAGS += -DRN_VERSION='"$(VERSION)"' -DRN_COMMIT='"$(COMMIT)"'
$(B)/obj/kernels/base/version.o $(B)/plugin/kernels/base/version.c.o: $(B)/commit
$(B)/commit: force
	@mkdir -p $(B); echo "$(VERSION) $(COMMIT)" | cmp -s - $@ || echo "$(VERSION) $(COMMIT)" > $@
.PHONY: force

$(KERNELS): $(call obj,$(KERNELS_SRC))
$(ENGINE): $(call obj,$(ENGINE_SRC))
$(LOADER): $(call obj,$(LOADER_SRC)) $(LOADER_PROTO_C:.c=.o)
$(HTTP): $(call obj,$(HTTP_SRC)) $(HTTP_PROTO_C:.c=.o)
$(TEST_SUPPORT): $(call obj,$(TEST_SUPPORT_SRC))
%.a:
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/resnetd: $(call obj,http/resnetd.c) $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	$(CC) $(LDFLAGS) -o $@ $^ $(HTTP_LDLIBS) $(LDLIBS)
$(LINKS): $(B)/resnetd
	ln -sf resnetd $@
# tools/resnet_NAME.c is a program; what else it consists of lies in tools/NAME/, with tools/NAME/*/<isa>.c for this architecture's instruction sets.
define tool_rule
$(B)/$(subst _,-,$(1)): $(call obj,tools/$(1).c $(wildcard $(1:resnet_%=tools/%)/*.c $(ISAS:%=$(1:resnet_%=tools/%)/*/%.c))) $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	$$(CC) $$(LDFLAGS) -Wl,--as-needed -o $$@ $$^ $$(HTTP_LDLIBS) $$(LDLIBS)
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$(t))))

$(B)/tests/%: $(B)/obj/tests/%.o $(TEST_SUPPORT) $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(HTTP_LDLIBS) $(LDLIBS)

$(FUZZ_REPLAYS): $(B)/tests/fuzz/%_fuzz: $(B)/obj/tests/fuzz/%_fuzz.o $(B)/obj/tests/fuzz/replay.o $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(HTTP_LDLIBS) $(LDLIBS)
$(B)/%-fuzzer: $(B)/obj/tests/fuzz/%_fuzz.o $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(HTTP_LDLIBS) $(LDLIBS)

# Kernels, backend and stand-ins for the host: what the CUDA tests are linked with.
CXXFLAGS += -std=c++17 $(OPT) -g -Wall -Wextra -Werror -ffp-contract=off $(SANITIZE)
CXXFLAGS += $(if $(findstring address,$(SANITIZE)),-fsanitize-sections=rn_shared)
EMULATION := $(B)/libcudaemulation.a
EMULATION_SRC := $(CUDA_KERNELS_SRC) $(filter-out %_test.cpp,$(wildcard tests/cuda_emulation/*.cpp)) $(wildcard tests/cuda_emulation/*.c) \
    $(filter-out engine/cuda/cuda_libraries.c,$(CUDA_HOST_SRC)) $(filter-out %_test.c,$(wildcard tests/cuda/*.c))
$(EMULATION): $(addprefix $(B)/emulation/,$(addsuffix .o,$(EMULATION_SRC)))
$(B)/emulation/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(CXX) -I. -Itests/cuda_emulation $(CUDA_INCLUDE) $(CXXFLAGS) -fPIC -Wno-unknown-pragmas -MMD -MP -x c++ -c -o $@ $<
$(B)/emulation/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) -I. -Itests/cuda_emulation $(CUDA_INCLUDE) $(CXXFLAGS) -fPIC -MMD -MP -c -o $@ $<
$(B)/emulation/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CUDA_INCLUDE) $(CFLAGS) -fPIC -MMD -MP -c -o $@ $<
$(B)/tests/cuda/%: $(B)/emulation/tests/cuda/%.c.o $(EMULATION) $(TEST_SUPPORT) $(ENGINE) $(KERNELS) | $(EMULATED)/libnvidia-ml.so.1
	@mkdir -p $(@D)
	$(CXX) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/../emulated' -o $@ $^ -lcmocka $(LDLIBS)
$(B)/tests/cuda_emulation/%: $(B)/emulation/tests/cuda_emulation/%.cpp.o $(EMULATION) $(ENGINE) $(KERNELS)
	@mkdir -p $(@D)
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)
# Real cuDNN first: of the stand-ins, only that of the runtime is taken, for code that is linked and never runs.
$(B)/tests/cuda_libraries/%: $(B)/emulation/tests/cuda_libraries/%.c.o $(EMULATION) $(TEST_SUPPORT) $(ENGINE) $(KERNELS)
	@mkdir -p $(@D)
	$(CXX) $(LDFLAGS) -Wl,-rpath,$(CUDA_RPATH) -o $@ $< $(CUDNN_LIBRARY) $(filter %.a,$^) -lcmocka $(LDLIBS)

# --threads: the architectures of one file side by side.
NVCC_FLAGS := -std=c++17 -O3 --threads 2 -I. -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra -Werror all-warnings \
    $(foreach s,$(SM),-gencode arch=compute_$(s),code=sm_$(s)) -gencode arch=compute_$(lastword $(SM)),code=compute_$(lastword $(SM))
PLUGIN_SRC := $(CUDA_HOST_SRC) engine/plan.c engine/pass_layout_arena.c engine/cpu/cpu_count.c $(addprefix kernels/base/,dtype.c error.c status.c)
PLUGIN_OBJ := $(CUDA_KERNELS_SRC:%=$(B)/plugin/%.o) $(PLUGIN_SRC:%=$(B)/plugin/%.o)

cuda: $(if $(PLUGIN_MISSING),cuda-missing,$(PLUGIN))
cuda-missing:
	@echo 'the CUDA plug-in needs what was not found: $(PLUGIN_MISSING)'; exit 1
# For scripts: fails and names what is missing.
cuda-found:
	@$(if $(PLUGIN_MISSING),echo '$(subst ",,$(PLUGIN_MISSING))'; exit 1,:)
.PHONY: cuda cuda-missing cuda-found
$(B)/plugin/%.cu.o: %.cu $(B)/plugin/architectures
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -DRN_CUDA_ARCHITECTURES='"$(SM:%=sm_%)"' -MMD -MP -c -o $@ $<
$(B)/plugin/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CUDA_INCLUDE) $(CFLAGS) $(ISA_FLAGS) -fPIC -MMD -MP -c -o $@ $<
$(B)/plugin/architectures: force
	@mkdir -p $(@D); echo "$(SM)" | cmp -s - $@ || echo "$(SM)" > $@
$(PLUGIN): $(PLUGIN_OBJ)
	$(CXX) -shared -Wl,-z,defs -Wl,--exclude-libs,ALL -Wl,--gc-sections -Wl,-rpath,'$$ORIGIN:$(CUDA_RPATH)' -o $@ $^ \
	    -L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib $(CUDNN_LIBRARY) $(CUBLAS_LIBRARY) -lcudart_static -lpthread -lrt -ldl -lm

EMULATED_OBJ := $(addprefix $(B)/emulation/,$(addsuffix .o,$(filter-out tests/cuda/%,$(EMULATION_SRC)))) \
    $(addprefix $(B)/plugin/,$(addsuffix .o,$(filter-out $(CUDA_HOST_SRC),$(PLUGIN_SRC))))
$(EMULATED)/libresnetd-cuda.so: $(EMULATED_OBJ)
	@mkdir -p $(@D)
	$(CXX) -shared $(LDFLAGS) -Wl,-rpath,'$$ORIGIN' -o $@ $^ -ldl -lm
$(EMULATED)/libnvidia-ml.so.1: tests/cuda_emulation/nvml/nvml_standin.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -o $@ $<
$(EMULATED)/resnetd $(EMULATED)/resnet-bench $(EMULATED)/gpu-check: $(EMULATED)/%: $(B)/%
	@mkdir -p $(@D)
	ln -f $< $@

# What tools/gpu-check.sh runs: plug-in, reference kernels and synthetic networks, without any library but CUDA's.
GPU_CHECK_SRC := tools/gpu/gpu_check.c tests/support/plan_reference.c engine/cuda_plugin.c engine/synthetic.c \
    $(addprefix engine/image/,fit.c resize_bilinear.c resize_nearest.c resize_bicubic.c resize_area.c) \
    $(wildcard kernels/image/*.c) $(foreach i,$(ISAS),$(wildcard kernels/cpu/$(i)/image_*.c)) \
    $(wildcard engine/plan*.c engine/pass_*.c kernels/base/*.c kernels/ref/*.c)
gpu-check: cuda $(B)/gpu-check
.PHONY: gpu-check
$(B)/gpu-check: $(GPU_CHECK_SRC:%=$(B)/plugin/%.o)
	$(CC) $(LDFLAGS) -o $@ $^ -ldl -lm

# Both sides of the plug-in's door know what the structs that pass through it were compiled from.
CONTRACT := $(shell cat engine/plan.h engine/backend.h $(addprefix kernels/base/,error.h status.h dtype.h) | cksum | cut -d' ' -f1)
DOOR := $(B)/obj/engine/cuda_plugin.o $(addprefix $(B)/plugin/,engine/cuda_plugin.c.o engine/cuda/plugin_entry.c.o) \
    $(B)/emulation/engine/cuda/plugin_entry.c.o
$(DOOR): CPPFLAGS += -DRN_BACKEND_CONTRACT=$(CONTRACT)

-include $(shell find $(B)/obj $(B)/gen $(B)/emulated $(B)/emulation $(B)/plugin -name '*.d' 2>/dev/null)
