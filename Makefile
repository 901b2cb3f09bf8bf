# resnetd: the only build file. `make` builds the programs, `make check` the C tests, `make help` lists the rest.
#
# Sources are found by folder: a new file needs no line here. Only kernels/cpu/<isa>/ is compiled with that instruction set's flags, so that
# everything else runs on any processor of the architecture.

B ?= build
CC ?= cc
OPT ?= -O3
SANITIZE ?=

PKGS := libprotobuf-c jansson libpng libjpeg libwebp libwebpdemux openssl zlib
HTTP_PKG := libh2o-evloop grpc
MISSING := $(strip $(foreach p,$(PKGS) openblas $(HTTP_PKG),$(shell pkg-config --exists $(p) || echo $(p))))
ifneq ($(filter-out help clean format check-format,$(or $(MAKECMDGOALS),all)),)
ifneq ($(MISSING),)
$(error not found by pkg-config: $(MISSING). `sh tools/install-deps.sh` installs what the build needs)
endif
endif

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
ISAS := $(if $(filter x86_64,$(ARCH)),avx2 avx512)
ISA_FLAGS_avx2 := -mavx2 -mfma
ISA_FLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512

# -ffp-contract=off: results that must equal TensorFlow's to the bit may not get fused multiply-adds that nobody wrote; kernels write theirs.
CFLAGS += -std=c17 $(OPT) -g -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno -fvisibility=hidden $(SANITIZE)
CPPFLAGS += -I. -I$(B)/gen -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) openblas $(HTTP_PKG))
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

KERNELS_SRC := $(wildcard kernels/base/*.c kernels/ref/*.c kernels/cpu/*.c) $(foreach i,$(ISAS),$(wildcard kernels/cpu/$(i)/*.c))
ENGINE_SRC := $(wildcard engine/*.c engine/cpu/*.c engine/image/*.c)
LOADER_SRC := $(wildcard loader/*.c)
HTTP_SRC := $(filter-out http/resnetd.c,$(wildcard http/*.c))
TEST_SRC := $(wildcard tests/*/*_test.c)
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
TESTS := $(TEST_SRC:%.c=$(B)/%)
# Programs that tests written in Python drive.
TEST_TOOLS := $(TEST_TOOL_SRC:%.c=$(B)/%)

.PHONY: all check tests asan tsan clean help format check-format detected
.SECONDARY:
all: detected $(PROGRAMS)

detected:
	@echo "compiler    $$($(CC) --version | head -n 1)"
	@echo "target      $(ARCH), hand-written kernels: $(or $(ISAS),none: reference kernels and OpenBLAS)"
	@echo "libraries   $(foreach p,$(PKGS) openblas $(HTTP_PKG),$(p) $(shell pkg-config --modversion $(p)))"
	@echo "output      $(B)/$(if $(SANITIZE), with $(SANITIZE))"

tests: $(TESTS) $(TEST_TOOLS)
check: tests
	@set -e; for t in $(sort $(TESTS)); do echo "== $$t"; $$t; done

asan:
	$(MAKE) B=$(B)/asan OPT="-O1" SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" all tests
tsan:
	$(MAKE) B=$(B)/tsan OPT="-O1" SANITIZE="-fsanitize=thread -fno-omit-frame-pointer" all tests

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
clean:
	rm -rf $(B)
help:
	@echo "make            programs in $(B)/"
	@echo "make check      C unit tests"
	@echo "make asan|tsan  programs and tests with sanitizers, in $(B)/asan, $(B)/tsan"
	@echo "make format     clang-format over all sources;   make clean"

$(B)/gen/%.pb-c.c: %.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=. --c_out=$(B)/gen $<

$(B)/obj/%.o: %.c | $(LOADER_PROTO_C) $(HTTP_PROTO_C)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(ISA_FLAGS) -MMD -MP -c -o $@ $<
$(B)/gen/%.o: $(B)/gen/%.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

define isa_rule
$(call obj,$(wildcard kernels/cpu/$(1)/*.c)): ISA_FLAGS := $(ISA_FLAGS_$(1))
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))

# The version and commit live in one object, which is rebuilt when either changes.
$(B)/obj/kernels/base/version.o: CPPFLAGS += -DRN_VERSION='"$(VERSION)"' -DRN_COMMIT='"$(COMMIT)"'
$(B)/obj/kernels/base/version.o: $(B)/commit
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
define tool_rule
$(B)/$(subst _,-,$(1)): $(call obj,tools/$(1).c) $(LOADER) $(ENGINE) $(KERNELS)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$(t))))

$(B)/tests/%: $(B)/obj/tests/%.o $(TEST_SUPPORT) $(HTTP) $(LOADER) $(ENGINE) $(KERNELS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(HTTP_LDLIBS) $(LDLIBS)

-include $(shell find $(B)/obj $(B)/gen -name '*.d' 2>/dev/null)
