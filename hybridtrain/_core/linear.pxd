# The declarations of csrc/model/ht_linear.h that Python uses.
from libc.stdint cimport int64_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.loss cimport ht_loss_t
from hybridtrain._core.model cimport ht_model_t
from hybridtrain._core.rows cimport ht_rows_t
from hybridtrain._core.vector cimport ht_isa_t

cdef extern from "model/ht_linear.h" nogil:
    ctypedef struct ht_linear_t:
        ht_model_t model
    ht_err_t ht_linear_init(ht_linear_t *linear, ht_loss_t loss, int64_t classes)
    ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *parameters, int64_t outputs,
                               ht_isa_t isa, int64_t first, int64_t last, float *z)
