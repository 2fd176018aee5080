from libc.stdint cimport uint64_t

from hybridtrain._core.base cimport ht_err_t

cdef int check(ht_err_t err) except -1
cdef int require_memory(size_t nbytes, object available, str remedy) except -1
cdef int check_mapped(ht_err_t err, size_t nbytes, str remedy) except -1
cdef uint64_t deadline_in(double seconds) except? 0
