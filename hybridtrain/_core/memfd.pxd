# The declarations of csrc/base/ht_memfd.h.
from libc.stdint cimport int32_t

from hybridtrain._core.base cimport ht_err_t

cdef extern from "base/ht_memfd.h" nogil:
    const size_t HT_MEMFD_PAGE
    ht_err_t ht_memfd_create(const char *name, size_t nbytes, int32_t *fd)
    void ht_memfd_commit(int32_t fd, size_t nbytes)
    ht_err_t ht_memfd_write(int32_t fd, const void *from_, size_t nbytes, size_t offset)
    ht_err_t ht_memfd_freeze(int32_t fd)
    ht_err_t ht_memfd_map(int32_t fd, size_t offset, size_t nbytes, int is_writable,
                          void **memory)
