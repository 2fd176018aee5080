/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/ht_base.h"

const char *ht_err_text(ht_err_t err)
{
    static const char *const texts[HT_ERR_COUNT] = {
        [HT_OK] = "success",
        [HT_EINVAL] = "invalid argument",
        [HT_EINTR] = "interrupted wait",
        [HT_ETIMEOUT] = "deadline passed",
        [HT_EBUSY] = "held by another worker",
        [HT_EEND] = "nothing left to hand out",
        [HT_ESTOPPED] = "stopped by the supervisor",
        [HT_ENONFINITE] = "non-finite loss",
        [HT_EROWPTR] = "row pointers out of order or range",
        [HT_EINDEX] = "column index out of range",
        [HT_EDUPLICATE] = "column twice in a row",
        [HT_EVALUE] = "non-finite value",
        [HT_ECHANGED] = "rows changed since they were checked",
    };
    return err >= 0 && err < HT_ERR_COUNT ? texts[err] : "unknown error";
}
