# `make help` lists the targets. Everything that is built goes to target/.
#
# `make run` needs cargo and a C compiler; `make test` and `make lint` need more. scripts/setup.sh
# prints what is missing and installs it, or prints the command where it may not. SETUP=0 makes it
# print the command and stop.

CC      ?= cc
CARGO   ?= cargo
INSTALL ?= install

PREFIX       ?= /usr/local
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
BINDIR       ?= $(PREFIX)/bin
DATADIR      ?= $(PREFIX)/share
MANDIR       ?= $(DATADIR)/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
DESTDIR      ?=

VERSION   := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

# The libraries that a program linked to the archive needs besides those that every C compiler adds.
# `make test` compares the list with rustc's.
LIBS_PRIVATE := -lutil -lrt -lpthread -lm -ldl

# The machine to build for, by rustc's name for it (aarch64-unknown-linux-gnu); nothing for this
# one. Cargo's own variable says the same.
TARGET  ?= $(CARGO_BUILD_TARGET)
# Tools of cargo's that run on this machine are not built for the other one. The second would take
# the place of RUSTFLAGS, and with the third `cd target` may lead to another checkout.
unexport CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS CDPATH
# With these, tests write what they are to compare.
unexport PM_UPDATE_HEADER PM_WRITE_FIXTURE INSTA_UPDATE INSTA_FORCE_PASS

BUILD   := $(or $(CARGO_TARGET_DIR),target)
# For cargo, whatever its other settings say, such as one directory for all checkouts.
export CARGO_TARGET_DIR := $(BUILD)
ifneq ($(TARGET),)
include scripts/cross.mk
endif
# Where cargo puts what it builds for that machine, and where make does.
RELEASE := $(BUILD)/$(TARGET:%=%/)release
DIST    := $(BUILD)/$(TARGET:%=%/)dist
NAME    := libpool_metadata
HEADER  := include/pool_metadata.h
# The C library musl is for static programs: rustc makes no shared library for it.
SO      := $(if $(findstring musl,$(TARGET)),,$(RELEASE)/$(NAME).so)
# Cargo's archive, $(RELEASE)/$(NAME).a, defines thousands of global symbols; this one pm_* only.
A       := $(DIST)/$(NAME).a
SOURCES := Cargo.toml $(wildcard Cargo.lock .cargo/config.toml build.rs) \
           $(shell find src -name '*.rs')
# What `make bench-writers` and `make e2e-bench` have printed. While they run, a second file says
# that they met their targets, which the exit code of a pipe does not.
WRITERS := $(BUILD)/bench-writers.txt
CYCLE   := $(BUILD)/bench-cycle.txt
# The manual pages of section 3, written from the header's comments; this file is made with them.
MANUAL  := $(BUILD)/man/written
# In a target directory of its own: as a part of it, cargo builds the library with its rlib, and so
# without link-time optimization, and would put that in the place of what `make` has built.
PMCTL   := $(BUILD)/pmctl/$(TARGET:%=%/)release/pmctl
# The one that runs here.
OWN_PMCTL := $(BUILD)/pmctl/release/pmctl
# What pmctl prints about itself: the manual pages of section 1, and scripts for shells.
PMCTL_SHARE := $(BUILD)/pmctl/share

# What is cargo's for another machine, and a comma for lists in functions of make's.
FOR_TARGET := $(TARGET:%=--target %)
, := ,

# Paths of this machine, which debug information and messages of assertions have, are left out.
ifneq ($(REPRODUCIBLE),)
CARGO_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
export RUSTFLAGS += --remap-path-prefix=$(CARGO_DIR)=/cargo \
                    --remap-path-prefix=$(CURDIR)=/pool-metadata \
                    --remap-path-prefix=$(shell rustc --print sysroot)=/rust
export CFLAGS += -ffile-prefix-map=$(CARGO_DIR)=/cargo -ffile-prefix-map=$(CURDIR)=/pool-metadata
endif

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: all pmctl run test campaign properties damage loom lint bench sanitize miri fuzz \
        coverage header man install install-library uninstall clean distclean help setup-build \
        setup-test setup-lint setup-fuzz setup-coverage bench-go bench-writers bench-processes \
        charts chart-writers chart-cycle chart-none forget-skipped test-rust test-fuzz test-run \
        test-symbols test-c test-install \
        test-reproducible test-go test-containerd test-powercut powercut test-kills kills \
        fuzz-go lint-go e2e e2e-bench setup-e2e proxy setup-proxy packages test-packages \
        setup-packages dist test-dist test-cross setup-cross

# Without the rlib, which C programs do not need: with it, cargo would leave link-time optimization
# out.
## build the shared library and the static archive (the default)
all: setup-build $(MANUAL)
	$(CARGO) rustc --release --lib --crate-type $(if $(SO),cdylib$(,))staticlib $(FOR_TARGET)
	$(if $(SO),ln -sf $(NAME).so $(SO).$(SOVERSION))
	$(CROSS_TOOLS) scripts/archive.sh $(RELEASE)/$(NAME).a scripts/symbols.txt $(A)

# `sudo make install` depends on this: cargo runs only if a source has changed since.
$(A): $(SOURCES) scripts/archive.sh scripts/symbols.txt
	@$(MAKE) --no-print-directory all

$(MANUAL): $(HEADER) man/pool_metadata.7 man/Cargo.toml $(wildcard man/src/*.rs)
	$(CARGO) run --quiet --package pool-metadata-man -- $(HEADER) man/pool_metadata.7 $(@D)
	@touch $@

## build pmctl, the operators' tool, to target/pmctl/release
pmctl: setup-build
	$(CARGO) build --release --package pmctl --target-dir $(BUILD)/pmctl $(FOR_TARGET)

$(PMCTL): $(SOURCES) pmctl/Cargo.toml $(shell find pmctl/src -name '*.rs')
	@$(MAKE) --no-print-directory pmctl
	@touch $@

ifneq ($(TARGET),)
$(OWN_PMCTL): $(PMCTL)
	@$(MAKE) --no-print-directory TARGET= $@
endif

$(PMCTL_SHARE)/written: $(OWN_PMCTL)
	scripts/pmctl-share.sh $(OWN_PMCTL) $(@D)
	@touch $@

## run a C program on a store: a pool's day, a crash included; then pmctl on it
run: all $(PMCTL)
	@CC='$(CC)' scripts/run.sh $(RELEASE) $(PMCTL)

## compare with raw LMDB, as ratios (QUICK=1: without 1M devices)
bench: setup-build
	$(CARGO) bench --bench ratios -- $(if $(QUICK),--quick)

## run every test (installs what is missing first, after printing it)
test: setup-test forget-skipped test-rust test-fuzz loom all test-run test-symbols \
      test-reproducible test-c test-install test-go test-powercut test-kills test-containerd
	@scripts/skipped.sh $(PM_SKIPPED)
	@echo 'make test: all passed'

# Where tests list what they skip, and why.
export PM_SKIPPED := $(abspath $(BUILD))/skipped

forget-skipped:
	@rm -f $(PM_SKIPPED)

# Ends a test program that hangs, and none on a slow machine: the slowest needs minutes.
LIMITED := --config 'target."cfg(all())".runner=["timeout", "--foreground", "--verbose", "7200"]'

test-rust:
	$(CARGO) $(LIMITED) test --workspace

## the long runs of the concurrency tests (a quarter of an hour)
campaign: setup-build
	PM_CAMPAIGN=1 $(CARGO) test --test growth --test crowd --test space --test turmoil \
	  --test large_lists --test page_size

## the property tests, with CASES=10000 random cases each
properties: setup-build
	PROPTEST_CASES=$(or $(CASES),10000) $(CARGO) test --release \
	    --test model --test repair_properties --test salvage

# Continues where it was stopped; without the file that PM_DAMAGE_STATE names it begins anew.
## open damaged store files (CASES=100000 SEED=1; CASE=17: one case)
damage: setup-build
	PM_DAMAGE_CASES=$(or $(CASES),100000) PM_DAMAGE_SEED=$(or $(SEED),1) PM_DAMAGE_CASE=$(CASE) \
	    PM_DAMAGE_STATE=$(abspath $(BUILD))/damage-$(or $(SEED),1) \
	    $(CARGO) test --release --test damage_campaign damaged_files -- --nocapture

# In a target directory of its own, since every crate is compiled for loom.
## model-check the waiting threads: every interleaving of a few
loom: setup-build
	RUSTFLAGS='--cfg loom' $(CARGO) $(LIMITED) test --release --lib --target-dir target/loom model::

## run the Rust tests under AddressSanitizer and ThreadSanitizer
sanitize: setup-test
	scripts/sanitize.sh address
	scripts/sanitize.sh thread

## run the tests that call no LMDB in Miri (needs a nightly toolchain)
miri: setup-build
	scripts/sanitize.sh miri

# The inputs in fuzz/corpus, in an ordinary build.
test-fuzz: setup-build
	CARGO='$(CARGO)' scripts/fuzz.sh seeds

## fuzz (FUZZTIME=60: seconds each; TARGETS=record verify open calls)
fuzz: setup-fuzz
	scripts/fuzz.sh $(or $(FUZZTIME),60) $(TARGETS)

## line coverage of src/ by the Rust tests
coverage: setup-coverage
	PATH="$(CURDIR)/target/tools/bin:$$PATH" $(CARGO) llvm-cov --workspace --summary-only

test-run: all $(PMCTL)
	CC='$(CC)' scripts/run.sh $(RELEASE) $(PMCTL)

# With a target directory of its own, whose path must not be in the libraries either.
test-reproducible:
	tests/install/reproducible.sh $(BUILD)/reproducible

## build for aarch64 and musl, and test that, in an emulator (20 minutes)
test-cross: setup-cross
	MAKE='$(MAKE)' CARGO='$(CARGO)' scripts/test-cross.sh

test-symbols: all
	tests/install/symbols.sh $(SO) $(A) scripts/symbols.txt $(HEADER)

test-c: all
	$(MAKE) -C c-tests test
	$(MAKE) -C c-tests valgrind
	$(MAKE) -C c-tests sanitize

test-install: all
	tests/install/setup.sh
	MAKE='$(MAKE)' tests/install/install.sh
	tests/install/go-cache.sh

# The Go package links an archive at a fixed place in the checkout.
GO_A := $(if $(filter $(abspath target),$(abspath $(BUILD))),$(A),target/dist/$(NAME).a)
ifneq ($(GO_A),$(A))
.PHONY: $(GO_A)
$(GO_A): $(A)
	mkdir -p $(@D)
	ln -sf '$(abspath $(A))' $@
endif

# Its tests link that and, in one run, an installed library, as a user's build would.
STAGE := $(abspath $(BUILD))/stage
GO_ENV = PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig LD_LIBRARY_PATH=$(STAGE)/lib

$(STAGE)/lib/pkgconfig/pool-metadata.pc: $(GO_A) pool-metadata.pc.in
	MAKE='$(MAKE)' scripts/fresh-make.sh install-library PREFIX=$(STAGE)

ifneq ($(wildcard go-binding/go.mod),)
test-go: $(STAGE)/lib/pkgconfig/pool-metadata.pc
	$(GO_ENV) scripts/test-go.sh

## build and test containerd with this store (CONTAINERD=latest,v1.7)
test-containerd: $(GO_A)
	scripts/test-containerd.sh $(CONTAINERD)

## build the proxy for a stock containerd: target/proxy/devmapper-snapshotter
proxy: setup-proxy $(GO_A)
	scripts/proxy.sh

## build .deb and .rpm into target/packages (MAINTAINER='Name <address>')
packages: setup-packages all pmctl $(GO_A)
	scripts/proxy.sh
	MAINTAINER='$(MAINTAINER)' scripts/packages.sh

## install the packages in a fresh Debian, use and remove them (needs root)
test-packages: packages
	scripts/test-packages.sh

## run containerd in a virtual machine, on a real thin-pool (QUICK=1; E2E_ACCEL=tcg)
e2e: setup-e2e $(GO_A) $(OWN_PMCTL)
	scripts/proxy.sh
	scripts/e2e.sh $(if $(QUICK),-short) $(if $(TEST),-run '$(TEST)')

## flushes and time of containerd's operations, with either store (DELAYS='0 5': ms a flush)
e2e-bench: setup-e2e $(GO_A)
	scripts/proxy.sh
	{ E2E_BENCH='$(or $(DELAYS),0 1 5 20)' scripts/e2e.sh -run '^$$' -bench Cycle -benchtime 1x \
	    && touch $(CYCLE).met; } | tee $(CYCLE)
	rm $(CYCLE).met

test-powercut: $(GO_A)
	scripts/powercut.sh go

## simulate power cuts (POWERCUT=20: times the length of the tests' run; SEED=1)
powercut: $(GO_A)
	PM_POWERCUT=$(or $(POWERCUT),20) PM_SEED=$(or $(SEED),1) scripts/powercut.sh everything

test-kills: $(GO_A)
	CC='$(CC)' scripts/kills.sh 200

## kill writers in C, Go and Rust at random moments (KILLS=10000 SEED=1)
kills: $(GO_A)
	CC='$(CC)' PM_SEED=$(or $(SEED),1) scripts/kills.sh $(or $(KILLS),10000)

## fuzz for a difference from containerd's own store (FUZZTIME=60s)
fuzz-go: $(GO_A)
	cd go-binding/containerdtest && $$(../../scripts/go.sh) test -run '^$$' \
	    -fuzz FuzzDifferential -fuzztime $(or $(FUZZTIME),60s) .

lint-go: $(STAGE)/lib/pkgconfig/pool-metadata.pc
	$(GO_ENV) scripts/lint-go.sh

## compare with containerd's store, as ratios (QUICK=1; CPU=1: on a busy machine)
bench-go: $(GO_A)
	scripts/bench-go.sh $(if $(QUICK),-quick) $(if $(CPU),-cpu)

## many writers, beside containerd's store and raw LMDB (QUICK=1: 90 s)
bench-writers: $(GO_A)
	$(CARGO) build --release --example writers
	@rm -f $(WRITERS)
	{ scripts/bench-go.sh -writers '$(abspath $(RELEASE))/examples/writers' \
	    $(if $(QUICK),-quick) && touch $(WRITERS).met; } | tee $(WRITERS)
	rm $(WRITERS).met

else
test-go test-containerd proxy packages test-packages e2e e2e-bench test-powercut powercut \
test-kills kills fuzz-go lint-go bench-go bench-writers: ;
endif

## draw the charts of docs/performance.md from what bench-writers and e2e-bench have printed
charts: $(or $(patsubst $(BUILD)/bench-%.txt,chart-%,$(wildcard $(WRITERS) $(CYCLE))),chart-none)

chart-none:
	@echo 'charts: run make bench-writers or make e2e-bench first'; exit 1

chart-writers chart-cycle:
	$(CARGO) run --quiet --package pool-metadata-charts -- \
	    $(@:chart-%=%) $(BUILD)/bench-$(@:chart-%=%).txt docs/charts

## processes that write to one store: eight beside one, and one beside a stopped one
bench-processes:
	$(CARGO) build --release --example processes
	directory=$$(mktemp -d /dev/shm/pm-bench-XXXXXX) && trap 'rm -rf "$$directory"' EXIT && \
	    '$(abspath $(RELEASE))/examples/processes' "$$directory/pool.db" 8 2000

## check formatting, warnings, documentation, licences, advisories
lint: setup-lint lint-go $(MANUAL) $(PMCTL_SHARE)/written
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	scripts/lint-width.sh
	scripts/lint-docs.py
	scripts/lint-c.sh
	$(MAKE) -C c-tests lint
	grep -L '^\.so ' $(dir $(MANUAL))*.3 | xargs mandoc -Tlint -Wwarning man/pool_metadata.7
	mandoc -Tlint -Werror $(PMCTL_SHARE)/man1/*.1
	target/tools/bin/cargo-deny --workspace check licenses bans sources
	scripts/advisories.sh
	@echo 'make lint: all passed'

## regenerate include/pool_metadata.h and scripts/symbols.txt
header:
	PM_UPDATE_HEADER=1 $(CARGO) test --test header
	scripts/symbols.sh $(HEADER) >scripts/symbols.txt

## write the manual pages from the header's comments, to target/man
man: setup-build $(MANUAL)

include scripts/install.mk

## write the source, with everything that cargo needs, to target/pool-metadata-VERSION.tar.xz
dist: setup-build
	scripts/dist.sh

test-dist: dist
	scripts/dist.sh test

# The tools of scripts/setup.sh take minutes to build and do not depend on the source, so they stay.
## remove what was built, except the tools of scripts/setup.sh
clean:
	[ ! -d $(BUILD) ] || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +

## remove all of target/
distclean:
	rm -rf $(BUILD)

setup-build setup-test setup-lint setup-fuzz setup-coverage setup-e2e setup-proxy \
setup-packages setup-cross: setup-%:
	@TARGET='$(TARGET)' scripts/setup.sh $*

## print this list
help:
	@awk '/^## / { text = substr($$0, 4); next } \
	    text && /^[a-z0-9-]+:/ { sub(/:.*/, ""); printf "  make %-16s %s\n", $$0, text } \
	    { text = "" }' $(MAKEFILE_LIST)
	@echo '  variables: TARGET (another machine, by rustc'"'"'s name: aarch64-unknown-linux-gnu)'
	@echo '             REPRODUCIBLE=1 (no paths of this machine in what is built)'
	@echo '             CC CARGO SETUP QUICK CONTAINERD FUZZTIME CPU POWERCUT KILLS SEED CASES CASE'
	@echo '             TEST E2E_ACCEL E2E_ROUNDS DELAYS'
	@echo '             DESTDIR PREFIX BINDIR LIBDIR INCLUDEDIR DATADIR MANDIR PKGCONFIGDIR'
