/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/crew.h"

#include "support/check.h"

void crew_start(crew_t *crew, int n, void *(*work)(void *), void *arguments, size_t argument_nbytes)
{
    REQUIRE(n <= CREW_MOST);
    crew->n = n;
    for (int i = 0; i < n; i++) {
        char *argument = (char *)arguments + (size_t)i * argument_nbytes;
        REQUIRE(pthread_create(&crew->threads[i], NULL, work, argument) == 0);
    }
}

void crew_join(crew_t *crew)
{
    for (int i = 0; i < crew->n; i++)
        REQUIRE(pthread_join(crew->threads[i], NULL) == 0);
}
