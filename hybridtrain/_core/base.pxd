# The declarations of csrc/base/ht_base.h.
from libc.stdint cimport int32_t

cdef extern from "base/ht_base.h" nogil:
    ctypedef int32_t ht_err_t
    enum:
        HT_OK
        HT_EINVAL
        HT_EINTR
        HT_ETIMEOUT
        HT_EBUSY
        HT_EEND
        HT_ESTOPPED
        HT_ENONFINITE
        HT_EROWPTR
        HT_EINDEX
        HT_EDUPLICATE
        HT_EVALUE
        HT_ECHANGED
        HT_ERR_COUNT
    const char *ht_err_text(ht_err_t err)
