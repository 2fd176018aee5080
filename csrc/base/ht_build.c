/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/ht_build.h"

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

/* The first byte of this program or library in memory; the linker defines it. */
extern const char __ehdr_start[] __attribute__((weak, visibility("hidden")));

/* A note is a header, its owner's name and its contents, each padded to 4 bytes. */
static size_t padded(size_t nbytes)
{
    return (nbytes + 3) & ~(size_t)3;
}

static uint64_t id_among(const char *notes, size_t nbytes)
{
    ElfW(Nhdr) note;
    for (size_t at = 0; at + sizeof note <= nbytes;) {
        memcpy(&note, notes + at, sizeof note);
        const char *name = notes + at + sizeof note;
        const char *contents = name + padded(note.n_namesz);
        uint64_t id;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU &&
            memcmp(name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0 && note.n_descsz >= sizeof id) {
            memcpy(&id, contents, sizeof id);
            return id;
        }
        at += sizeof note + padded(note.n_namesz) + padded(note.n_descsz);
    }
    return 0;
}

static ElfW(Phdr) part_at(const ElfW(Ehdr) * header, size_t i)
{
    ElfW(Phdr) part;
    memcpy(&part, __ehdr_start + header->e_phoff + i * header->e_phentsize, sizeof part);
    return part;
}

uint64_t ht_build_id(void)
{
    if (__ehdr_start == NULL)
        return 0;
    ElfW(Ehdr) header;
    memcpy(&header, __ehdr_start, sizeof header);
    size_t first = 0; /* the address that __ehdr_start has in the file */
    for (size_t i = 0; i < header.e_phnum; i++)
        if (part_at(&header, i).p_type == PT_LOAD && part_at(&header, i).p_offset == 0)
            first = part_at(&header, i).p_vaddr;
    uint64_t id = 0;
    for (size_t i = 0; i < header.e_phnum && id == 0; i++) {
        ElfW(Phdr) part = part_at(&header, i);
        if (part.p_type == PT_NOTE)
            id = id_among(__ehdr_start + (part.p_vaddr - first), part.p_filesz);
    }
    return id;
}
