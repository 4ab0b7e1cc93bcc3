# make help lists what can be done here. Everything that is built lands in target/.
#
# `make run` needs cargo and a C compiler, `make test` and `make lint` some tools more: scripts/setup.sh installs them
# where it may and otherwise names the command.

CC      ?= cc
CARGO   ?= cargo
INSTALL ?= install

PREFIX       ?= /usr/local
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
MANDIR       ?= $(PREFIX)/share/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
DESTDIR      ?=

VERSION   := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

# What a program linked to the archive needs besides the C library and the compiler's own run time, which the compiler
# adds by itself. `make test` compares this with what rustc says.
LIBS_PRIVATE := -lutil -lrt -lpthread -lm -ldl

TARGET  := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
NAME    := libpool_metadata
HEADER  := include/pool_metadata.h
SO      := $(RELEASE)/$(NAME).so
# Cargo's own archive is $(RELEASE)/$(NAME).a. It defines thousands of global symbols; this one only pm_*.
A       := $(TARGET)/dist/$(NAME).a
SOURCES := Cargo.toml $(wildcard Cargo.lock .cargo/config.toml build.rs) $(shell find src -name '*.rs')
MAN     := $(wildcard man/*.3 man/*.7)

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: all run test campaign properties damage loom lint bench sanitize miri fuzz header man install uninstall clean distclean help \
        setup-build setup-test setup-lint bench-go bench-writers test-rust test-run test-symbols test-c test-install test-man test-go test-containerd test-powercut powercut test-kills kills fuzz-go lint-go

# Without the rlib, which programs in C have no use for: beside it, cargo would leave link-time optimization out.
all: setup-build  ## build the shared library and the static archive (the default)
	$(CARGO) rustc --release --lib --crate-type cdylib,staticlib
	ln -sf $(NAME).so $(RELEASE)/$(NAME).so.$(SOVERSION)
	scripts/archive.sh $(RELEASE)/$(NAME).a scripts/symbols.txt $(A)

# What `sudo make install` looks at: cargo is run only if something has changed since.
$(A): $(SOURCES) scripts/archive.sh scripts/symbols.txt
	@$(MAKE) --no-print-directory all

run: all  ## take a pool through a day's work with a C program, and print the table
	@CC='$(CC)' scripts/run.sh $(RELEASE)

bench: setup-build  ## compare with raw LMDB in the same run: a table of ratios (QUICK=1: without 1M devices)
	$(CARGO) bench --bench ratios -- $(if $(QUICK),--quick)

test: setup-test test-rust loom all test-run test-symbols test-c test-install test-man test-go test-powercut test-kills test-containerd  ## run every test (installs what is missing first)
	@echo 'make test: all passed'

test-rust:
	$(CARGO) test --workspace

campaign: setup-build  ## more of what `make test` does with growing maps, crowds of readers, updates, and stopped and killed processes (a quarter of an hour)
	PM_CAMPAIGN=1 $(CARGO) test --test growth --test crowd --test space --test turmoil

properties: setup-build  ## hold the store to its models, and salvage to what was whole, in CASES=10000 random cases each
	PROPTEST_CASES=$(or $(CASES),10000) $(CARGO) test --release --test model --test capi --test repair_properties --test salvage

# Goes on where it was stopped; without the file that PM_DAMAGE_STATE names it begins anew.
damage: setup-build  ## damage store files by the thousand (CASES=100000 SEED=1; CASE=17: that one alone)
	PM_DAMAGE_CASES=$(or $(CASES),100000) PM_DAMAGE_SEED=$(or $(SEED),1) PM_DAMAGE_CASE=$(CASE) \
	    PM_DAMAGE_STATE=$(abspath $(TARGET))/damage-$(or $(SEED),1) \
	    $(CARGO) test --release --test damage_campaign damaged_files -- --nocapture

# A directory of its own: every crate is compiled for loom.
loom: setup-build  ## model-check the commit queue: every interleaving of a few threads
	RUSTFLAGS='--cfg loom' $(CARGO) test --release --lib --target-dir target/loom sync::commit_queue

sanitize: setup-test  ## run the Rust tests under AddressSanitizer and ThreadSanitizer, LMDB's C included (needs rustup's rust-src)
	scripts/sanitize.sh address
	scripts/sanitize.sh thread

miri: setup-build  ## run the tests of what calls no LMDB in Miri (needs a nightly toolchain that has it)
	scripts/sanitize.sh miri

fuzz: setup-test  ## fuzz the library (FUZZTIME=60: seconds for each; TARGETS=open: of record, verify, open, calls)
	scripts/fuzz.sh $(or $(FUZZTIME),60) $(TARGETS)

test-run: all
	CC='$(CC)' scripts/run.sh $(RELEASE)

test-symbols: all
	tests/install/symbols.sh $(SO) $(A) scripts/symbols.txt $(HEADER)

test-c: all
	$(MAKE) -C c-tests test
	$(MAKE) -C c-tests valgrind
	$(MAKE) -C c-tests sanitize

test-install: all
	MAKE='$(MAKE)' tests/install/install.sh

test-man:
	python3 scripts/man.py --check

# The Go package takes the archive from this checkout, and in one of its runs the library from an installation of its
# own, as a user's build would.
STAGE := $(abspath $(TARGET))/stage
GO_ENV = PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig LD_LIBRARY_PATH=$(STAGE)/lib

$(STAGE)/lib/pkgconfig/pool-metadata.pc: $(A) pool-metadata.pc.in
	$(MAKE) --no-print-directory install PREFIX=$(STAGE) DESTDIR=

ifneq ($(wildcard go-binding/go.mod),)
test-go: $(STAGE)/lib/pkgconfig/pool-metadata.pc
	$(GO_ENV) scripts/test-go.sh

test-containerd: $(A)  ## compare with containerd's own store, and build and test containerd with this one (CONTAINERD=latest,v1.7: the newest)
	scripts/test-containerd.sh $(CONTAINERD)

test-powercut: $(A)
	scripts/powercut.sh migration

powercut: $(A)  ## cut the power after every write and flush of recorded work (POWERCUT=20: so many times as long, SEED=1)
	PM_POWERCUT=$(or $(POWERCUT),20) PM_SEED=$(or $(SEED),1) scripts/powercut.sh everything

test-kills: $(A)
	CC='$(CC)' scripts/kills.sh 200

kills: $(A)  ## kill writers in C, Go and Rust at any moment (KILLS=10000: how many, SEED=1)
	CC='$(CC)' PM_SEED=$(or $(SEED),1) scripts/kills.sh $(or $(KILLS),10000)

fuzz-go: $(A)  ## let Go's fuzzer look for a difference to containerd's own store (FUZZTIME=60s)
	cd go-binding/containerdtest && $$(../../scripts/go.sh) test -run '^$$' -fuzz FuzzDifferential -fuzztime $(or $(FUZZTIME),60s) .

lint-go: $(STAGE)/lib/pkgconfig/pool-metadata.pc
	$(GO_ENV) scripts/lint-go.sh

bench-go: $(A)  ## compare with containerd's own store in the same run: ratios (QUICK=1: without 100k devices; CPU=1: on a busy machine)
	scripts/bench-go.sh $(if $(QUICK),-quick) $(if $(CPU),-cpu)

bench-writers: $(A)  ## many writers on the disk, against containerd's own store and raw LMDB in the same run (QUICK=1: 90 s)
	$(CARGO) build --release --example writers
	scripts/bench-go.sh -writers '$(abspath $(RELEASE))/examples/writers' $(if $(QUICK),-quick)
else
test-go test-containerd test-powercut powercut test-kills kills fuzz-go lint-go bench-go bench-writers: ;
endif

lint: setup-lint lint-go  ## check formatting, warnings, documentation, licences
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	scripts/lint-c.sh
	$(MAKE) -C c-tests lint
	mandoc -Tlint -Wwarning $(wildcard man/*.7) $(shell grep -L '^\.so ' man/*.3)
	target/tools/bin/cargo-deny --workspace check licenses bans sources
	@echo 'make lint: all passed'

header:  ## write include/pool_metadata.h, scripts/symbols.txt and the manual pages anew, from the source
	PM_UPDATE_HEADER=1 $(CARGO) test --test header
	scripts/symbols.sh $(HEADER) >scripts/symbols.txt
	$(MAKE) man

man:  ## write the manual pages anew, from the header's comments
	python3 scripts/man.py

# In the .pc file what lies under the prefix is written in terms of it.
in_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))

install: $(A)  ## install into $(DESTDIR)$(PREFIX)
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(PKGCONFIGDIR)' \
	    '$(DESTDIR)$(MANDIR)/man3' '$(DESTDIR)$(MANDIR)/man7'
	$(INSTALL) -m 644 $(HEADER) '$(DESTDIR)$(INCLUDEDIR)/'
	$(INSTALL) -m 755 $(SO) '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(VERSION)'
	ln -sf $(NAME).so.$(VERSION) '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(SOVERSION)'
	ln -sf $(NAME).so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/$(NAME).so'
	$(INSTALL) -m 644 $(A) '$(DESTDIR)$(LIBDIR)/'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS_PRIVATE@|$(LIBS_PRIVATE)|' \
	    -e 's|@LIBDIR@|$(call in_prefix,$(LIBDIR))|' -e 's|@INCLUDEDIR@|$(call in_prefix,$(INCLUDEDIR))|' \
	    pool-metadata.pc.in >'$(DESTDIR)$(PKGCONFIGDIR)/pool-metadata.pc'
	chmod 644 '$(DESTDIR)$(PKGCONFIGDIR)/pool-metadata.pc'
	$(INSTALL) -m 644 $(filter %.3,$(MAN)) '$(DESTDIR)$(MANDIR)/man3/'
	$(INSTALL) -m 644 $(filter %.7,$(MAN)) '$(DESTDIR)$(MANDIR)/man7/'

uninstall:  ## remove what install put there (same DESTDIR, PREFIX and so on)
	rm -f '$(DESTDIR)$(INCLUDEDIR)/pool_metadata.h' '$(DESTDIR)$(PKGCONFIGDIR)/pool-metadata.pc' \
	    '$(DESTDIR)$(LIBDIR)/$(NAME).so' '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(SOVERSION)' \
	    '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(VERSION)' '$(DESTDIR)$(LIBDIR)/$(NAME).a'
	cd '$(DESTDIR)$(MANDIR)/man3' 2>/dev/null && rm -f $(notdir $(filter %.3,$(MAN))) || true
	cd '$(DESTDIR)$(MANDIR)/man7' 2>/dev/null && rm -f $(notdir $(filter %.7,$(MAN))) || true

# The tools of scripts/setup.sh take minutes to build and do not depend on the source: they stay.
clean:  ## remove what was built, except the tools that scripts/setup.sh built
	[ ! -d $(TARGET) ] || find $(TARGET) -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +

distclean:  ## remove target/ whole
	rm -rf $(TARGET)

setup-build setup-test setup-lint: setup-%:
	@scripts/setup.sh $*

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
	    printf '  make %-16s %s\n' "$$name" "$$what"; done
	@echo '  variables: CC CARGO QUICK CONTAINERD FUZZTIME CPU POWERCUT KILLS SEED CASES CASE DESTDIR PREFIX LIBDIR INCLUDEDIR MANDIR PKGCONFIGDIR'
