/*
 * Allocations of LMDB that fail; see faults.c. The rest of the library is Rust, which ends the
 * process when an allocation fails.
 *
 * Both use the same allocator. The return address shows whether LMDB made the call: it lies in one
 * of the functions that the symbol table of the library's file names mdb_ something.
 */
#include "check.h"
#include "faults.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The C library's own, for a program that defines the others. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *old, size_t len);
void *__libc_memalign(size_t alignment, size_t len);

static struct {
    uintptr_t start;
    uintptr_t end;
} functions[1024];
static size_t function_count;

/* Finds LMDB's functions in the file: their names, and no others, begin with mdb_. */
static void take_symbols(const unsigned char *file, uintptr_t base) {
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)file;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)(file + head->e_shoff);
    size_t i, k;
    CHECK(memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64);
    for (i = 0; i < head->e_shnum; i++) {
        const Elf64_Sym *symbols = (const Elf64_Sym *)(const void *)(file + sections[i].sh_offset);
        const char *names = (const char *)file + sections[sections[i].sh_link].sh_offset;
        if (sections[i].sh_type != SHT_SYMTAB) {
            continue;
        }
        for (k = 0; k < sections[i].sh_size / sizeof *symbols; k++) {
            if (ELF64_ST_TYPE(symbols[k].st_info) == STT_FUNC && symbols[k].st_size > 0 &&
                strncmp(names + symbols[k].st_name, "mdb_", 4) == 0) {
                CHECK(function_count < COUNT(functions));
                functions[function_count].start = base + symbols[k].st_value;
                functions[function_count].end = base + symbols[k].st_value + symbols[k].st_size;
                function_count++;
            }
        }
    }
}

void fault_memory_of_lmdb(void) {
    const Elf64_Ehdr *head;
    Dl_info place_of;
    struct stat found;
    void *file;
    int fd;
    /* In a program that is linked to the shared library, &pm_open can be the address of a stub. */
    void *known = dlsym(RTLD_DEFAULT, "pm_open");
    int32_t (*linked)(const char *, size_t, const pm_options *, pm_store **, pm_error *) = pm_open;
    if (known == NULL) {
        memcpy(&known, &linked, sizeof known);
    }
    function_count = 0;
    CHECK(dladdr(known, &place_of) != 0);
    /* Mapped, which allocates nothing. */
    fd = open(place_of.dli_fname, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &found) == 0);
    file = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(file != MAP_FAILED && close(fd) == 0);
    head = (const Elf64_Ehdr *)file;
    take_symbols(file, head->e_type == ET_DYN ? (uintptr_t)place_of.dli_fbase : 0);
    CHECK(munmap(file, (size_t)found.st_size) == 0);
    CHECK(function_count > 100);
}

static int is_refused(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    size_t i;
    if (!fault_is_armed(FAULT_MEMORY)) {
        return 0;
    }
    for (i = 0; i < function_count; i++) {
        if (functions[i].start <= at && at < functions[i].end) {
            return fault_is_due(FAULT_MEMORY);
        }
    }
    return 0;
}

void *malloc(size_t len) {
    return is_refused(__builtin_return_address(0)) ? NULL : __libc_malloc(len);
}

void *calloc(size_t count, size_t len) {
    return is_refused(__builtin_return_address(0)) ? NULL : __libc_calloc(count, len);
}

void *realloc(void *old, size_t len) {
    return is_refused(__builtin_return_address(0)) ? NULL : __libc_realloc(old, len);
}

int posix_memalign(void **got, size_t alignment, size_t len) {
    void *new = is_refused(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, len);
    if (new == NULL) {
        return ENOMEM;
    }
    *got = new;
    return 0;
}

char *strdup(const char *text) {
    size_t len = strlen(text) + 1;
    char *copy = is_refused(__builtin_return_address(0)) ? NULL : __libc_malloc(len);
    return copy != NULL ? memcpy(copy, text, len) : NULL;
}
