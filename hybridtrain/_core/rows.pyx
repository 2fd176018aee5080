# SPDX-License-Identifier: BSD-3-Clause
"""Views of rows: check, count, renumber, outputs."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int32_t, int64_t

from hybridtrain._core.base cimport (
    HT_EDUPLICATE,
    HT_EINDEX,
    HT_EROWPTR,
    HT_EVALUE,
    HT_OK,
    ht_err_t,
)
from hybridtrain._core.check cimport check
from hybridtrain._core.linear cimport ht_linear_margins
from hybridtrain._core.rows cimport (
    ht_column_t,
    ht_facts_t,
    ht_rows_check,
    ht_rows_count,
    ht_rows_is_dense,
    ht_rows_largest,
    ht_rows_norms,
    ht_rows_renumber,
    ht_rows_t,
)
from hybridtrain._core.softmax cimport HT_MOST_CLASSES, ht_softmax_outputs
from hybridtrain._core.vector cimport (
    HT_ISA_COUNT,
    ht_isa_t,
    ht_vector_best_isa,
    ht_vector_isa_name,
)

FAULTS = {
    HT_EROWPTR: "pointers",
    HT_EINDEX: "index",
    HT_EDUPLICATE: "duplicate",
    HT_EVALUE: "value",
}
ARRAYS = ("pointers", "indices", "values", "targets", "weights", "hot", "reach")
MOST_FEATURES = (1 << 31) - 1  # their numbers are int32
cdef int32_t NO_INDEX = 0  # of rows without elements: even none are not copied from NULL
cdef int64_t COUNT_ROWS = 1 << 22  # float32 column sums stay exact below 2^24 rows


def isas() -> list[str]:
    """Return the instruction sets that this machine runs, best last.

    Returns
    -------
    list of str
    """
    return [ht_vector_isa_name(<ht_isa_t>i).decode("ascii") for i in range(ht_vector_best_isa() + 1)]


cdef class Rows:
    """A read-only CSR or dense matrix with targets; see ht_rows.h.

    Parameters
    ----------
    n_features : int
    pointers : int64 array (n_rows + 1,) or None
    indices : int32 array (n_elements,) or None
        None, both: the matrix is dense.
    values : float32 array (n_elements,) or None
        None: every value is 1. Of a dense matrix, row after row.
    targets : float32 array (n_rows,) or None
    weights : float32 array (n_rows,) or None
    hot : int32 array (n_rows,) or None
        Leading hot elements of each row; None: `n_hot` speaks for all.
    n_hot : int
        0: no element is hot; else all are, or so many in each dense row.
    mapped : bool
        Whether the indices are those of a file that others may change meanwhile: then the
        rows are copied and checked where they are read, a few at a time.
    reach : float32 array (n_rows,) or None
        How far a gradient of 1 moves a row's own margin at rate 1; None: steps are not bounded.

    Raises
    ------
    ValueError
        When lengths disagree, or a number is out of range. What the arrays hold is for
        `find_fault`: nothing else may be called with rows that have a fault.
    """

    def __cinit__(self, int64_t n_features, const int64_t[::1] pointers, const int32_t[::1] indices,
                  const float[::1] values, const float[::1] targets=None,
                  const float[::1] weights=None, const int32_t[::1] hot=None, int64_t n_hot=0,
                  bint mapped=False, const float[::1] reach=None):
        cdef int64_t n_rows, row
        if not 1 <= n_features <= MOST_FEATURES:
            raise ValueError(f"n_features: 1 .. {MOST_FEATURES} expected, got {n_features}")
        if not 0 <= n_hot <= n_features:
            raise ValueError(f"n_hot: 0 .. {n_features} expected, got {n_hot}")
        if (pointers is None) != (indices is None) or (pointers is None and values is None):
            raise ValueError("pointers and indices expected, or values alone")
        if pointers is None:
            n_rows = values.shape[0] // n_features
            if n_rows < 1 or values.shape[0] != n_rows * n_features or hot is not None:
                raise ValueError("values are not whole rows, or hot is given with dense rows")
            self.n_elements = values.shape[0]
        else:
            n_rows = pointers.shape[0] - 1
            if n_rows < 1 or pointers[0] != 0 or pointers[n_rows] != indices.shape[0]:
                raise ValueError("pointers do not go from 0 to the number of elements")
            if values is not None and values.shape[0] != indices.shape[0]:
                raise ValueError("values and indices differ in length")
            self.n_elements = indices.shape[0]
        if ((targets is not None and targets.shape[0] != n_rows)
                or (weights is not None and weights.shape[0] != n_rows)
                or (hot is not None and hot.shape[0] != n_rows)
                or (reach is not None and reach.shape[0] != n_rows)):
            raise ValueError("one value per row expected")
        self._keep = (pointers, indices, values, targets, weights, hot, reach)
        self.view.n_rows = n_rows
        self.view.n_features = n_features
        self.view.pointers = &pointers[0] if pointers is not None else NULL
        if indices is not None:
            self.view.indices = &indices[0] if self.n_elements > 0 else &NO_INDEX
        self.view.values = &values[0] if values is not None and self.n_elements > 0 else NULL
        self.view.targets = &targets[0] if targets is not None else NULL
        self.view.weights = &weights[0] if weights is not None else NULL
        self.view.reach = &reach[0] if reach is not None else NULL
        self.view.hot = &hot[0] if hot is not None else NULL
        self.view.n_hot = n_hot
        if mapped and pointers is not None:
            self.view.longest = 1
            for row in range(n_rows):
                self.view.longest = max(self.view.longest, pointers[row + 1] - pointers[row])

    cdef int _require(self, int64_t first, int64_t last) except -1:
        if not 0 <= first <= last <= self.view.n_rows:
            raise ValueError(f"rows {first} .. {last}: within 0 .. {self.view.n_rows} expected")
        return 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return self.view.n_rows, self.view.n_features

    @property
    def n_hot(self) -> int:
        """As it was given."""
        return self.view.n_hot

    @property
    def mapped(self) -> bool:
        """As it was given; False of dense rows."""
        return self.view.longest > 0

    @property
    def arrays(self) -> dict[str, memoryview]:
        """The arrays by the names of their parameters, without those that are None."""
        return {name: memoryview(array) for name, array in zip(ARRAYS, self._keep)
                if array is not None}

    @property
    def is_dense(self) -> bool:
        """Whether every row holds every column."""
        return ht_rows_is_dense(&self.view) != 0

    def find_fault(self, int64_t first, int64_t last) -> tuple[str, int] | None:
        """Check rows first .. last-1 of the matrix.

        Returns
        -------
        (str, int) or None
            What is wrong ("pointers", "index", "duplicate", "value") and the row.
        """
        cdef ht_err_t err
        cdef int64_t bad_row = -1
        self._require(first, last)
        with nogil:
            err = ht_rows_check(&self.view, self.n_elements, first, last, &bad_row)
        if err in FAULTS:
            return FAULTS[err], bad_row
        check(err)
        return None

    def count(self, int64_t first, int64_t last, bint intercept, double[::1] weight,
              double[::1] curvature) -> tuple[int, float, float, float]:
        """Add the facts of rows first .. last-1 to weight and curvature per column.

        Parameters
        ----------
        weight, curvature : float64 arrays (n_features,), or both None
            See ht_column_t.

        Returns
        -------
        (int, float, float, float)
            Elements equal to 1; sums of squared row norms, of row 1-norms, and of
            row norms with the intercept.
        """
        cdef ht_facts_t facts = [0, 0, 0, 0.0, 0.0, 0.0]
        cdef ht_column_t *columns = NULL
        cdef int64_t begin = first, end, j
        cdef ht_err_t err = HT_OK
        cdef int64_t n_features = self.view.n_features
        self._require(first, last)
        if (weight is None) != (curvature is None):
            raise ValueError("weight and curvature expected, or neither")
        if weight is not None:
            if weight.shape[0] != n_features or curvature.shape[0] != n_features:
                raise ValueError("one value per feature expected")
            columns = <ht_column_t *>PyMem_Calloc(n_features, sizeof(ht_column_t))
            if columns == NULL:
                raise MemoryError()
        with nogil:
            while begin < last and err == HT_OK:
                end = min(begin + COUNT_ROWS, last)
                err = ht_rows_count(&self.view, begin, end, intercept, &facts, columns)
                if columns != NULL:
                    for j in range(n_features):
                        weight[j] += columns[j].weight
                        curvature[j] += columns[j].curvature
                        columns[j].weight = 0
                        columns[j].curvature = 0
                begin = end
        PyMem_Free(columns)
        check(err)
        return facts.n_ones, facts.norm2_sum, facts.l1_sum, facts.norm_sum

    def norms(self, int64_t first, int64_t last, float[::1] norm2 not None) -> None:
        """Write the squared norms of rows first .. last-1 to their places in norm2 (n_rows,)."""
        if norm2.shape[0] != self.view.n_rows:
            raise ValueError("one value per row expected")
        cdef ht_err_t err
        self._require(first, last)
        with nogil:
            err = ht_rows_norms(&self.view, first, last, &norm2[0])
        check(err)

    def raise_largest(self, int64_t first, int64_t last, float[::1] largest not None) -> None:
        """Raise largest (n_features,) to the largest ``|x|`` of each column in these rows."""
        if largest.shape[0] != self.view.n_features:
            raise ValueError("one value per feature expected")
        cdef ht_err_t err
        self._require(first, last)
        with nogil:
            err = ht_rows_largest(&self.view, first, last, &largest[0])
        check(err)

    def renumber(self, const int32_t[::1] rank not None, int64_t n_hot, int64_t first,
                 int64_t last, int32_t[::1] indices not None, float[::1] values,
                 int32_t[::1] hot not None) -> None:
        """Write rows first .. last-1 renumbered and sorted by rank; see ht_rows.h."""
        cdef ht_err_t err
        cdef float *out_values = NULL
        self._require(first, last)
        if self.is_dense:
            raise ValueError("sparse rows expected")
        if (rank.shape[0] != self.view.n_features or indices.shape[0] != self.n_elements
                or hot.shape[0] != self.view.n_rows
                or (values is not None and values.shape[0] != self.n_elements)):
            raise ValueError("array lengths do not fit the rows")
        if self.n_elements == 0:  # no element is hot, and there is nothing to point to
            hot[first:last] = 0
            return
        if (values is None) != (self.view.values == NULL):
            raise ValueError("values expected where the rows have them")
        if values is not None:
            out_values = &values[0]
        with nogil:
            err = ht_rows_renumber(&self.view, &rank[0], n_hot, first, last, &indices[0],
                                   out_values, &hot[0])
        check(err)

    def margins(self, const float[::1] parameters not None, int64_t n_outputs, int isa,
                int64_t first, int64_t last, float[::1] z not None) -> None:
        """Write the outputs of rows first .. last-1 to z, row after row.

        Parameters
        ----------
        parameters : float32 array ((n_features + 1) * n_outputs,)
            Intercepts, then feature after feature.
        """
        cdef ht_err_t err
        self._require(first, last)
        if not 1 <= n_outputs <= ht_softmax_outputs(HT_MOST_CLASSES) or first == last:
            raise ValueError("no such outputs, or no rows")
        if (parameters.shape[0] != (self.view.n_features + 1) * n_outputs
                or z.shape[0] < (last - first) * n_outputs):
            raise ValueError("array lengths do not fit the rows")
        with nogil:
            err = ht_linear_margins(&self.view, &parameters[0], n_outputs, <ht_isa_t>isa, first,
                                    last, &z[0])
        check(err)
