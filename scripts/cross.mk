# Building for another machine, which $(TARGET) names: the tools for that, by the names that Debian
# gives them (gcc-aarch64-linux-gnu, musl-tools). What is set already counts.

machine := $(firstword $(subst -, ,$(TARGET)))
# The name as it is in the names of variables, for cargo and for the crate that compiles LMDB.
variable := $(subst -,_,$(TARGET))
upper := $(shell echo $(variable) | tr a-z A-Z)

# GNU's tools for another processor have a prefix.
ifneq ($(machine),$(shell uname -m))
prefix := $(machine)-linux-gnu-
endif
musl := $(findstring musl,$(TARGET))
compiler := $(if $(musl),$(if $(prefix),$(machine)-linux-)musl-gcc,$(prefix)gcc)

ifeq ($(or $(CC_$(variable)),$(CC_$(TARGET))),)
export CC_$(variable) := $(compiler)
endif
# For musl, rustc brings a linker's parts of its own.
ifeq ($(musl),)
export CARGO_TARGET_$(upper)_LINKER ?= $(prefix)gcc
endif
# gcc's unwinder is for glibc; rustc brings one for musl.
ifneq ($(musl),)
CROSS_TOOLS := \
    UNWINDER=$(shell rustc --print sysroot)/lib/rustlib/$(TARGET)/lib/self-contained/libunwind.a
endif
CROSS_TOOLS += LD=$(prefix)ld OBJCOPY=$(prefix)objcopy AR=$(prefix)ar

# Tests run on this machine.
ifneq ($(filter run test campaign bench e2e test-%,$(MAKECMDGOALS)),)
ifeq ($(filter test-cross,$(MAKECMDGOALS)),)
$(error $(MAKECMDGOALS) runs what it builds: leave TARGET out (make test-cross tests other \
    machines))
endif
endif
