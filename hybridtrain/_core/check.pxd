from hybridtrain._core.base cimport ht_err_t

cdef int check(ht_err_t err) except -1
