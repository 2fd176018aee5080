/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "base/ht_base.h"
#include "support/check.h"

static void every_code_has_a_text_of_its_own(void)
{
    const char *unknown = ht_err_text(HT_ERR_COUNT);
    for (ht_err_t err = 0; err < HT_ERR_COUNT; err++) {
        const char *text = ht_err_text(err);
        CHECK(text != NULL && strlen(text) > 3);
        if (text == NULL)
            continue;
        CHECK(strcmp(text, unknown) != 0);
        for (ht_err_t other = 0; other < err; other++)
            CHECK(strcmp(text, ht_err_text(other)) != 0);
    }
}

static void other_numbers_are_unknown_errors(void)
{
    const ht_err_t others[] = {HT_ERR_COUNT, HT_ERR_COUNT + 1, INT32_MAX, -1, -12, INT32_MIN};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        CHECK(strcmp(ht_err_text(others[i]), "unknown error") == 0);
}

int main(void)
{
    every_code_has_a_text_of_its_own();
    other_numbers_are_unknown_errors();
    FINISH();
}
