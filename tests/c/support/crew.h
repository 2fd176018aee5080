/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crew: a few threads that run one function on arguments of their own.
 */
#ifndef CREW_H
#define CREW_H

#include <pthread.h>
#include <stddef.h>

#define CREW_MOST 16

typedef struct {
    pthread_t threads[CREW_MOST];
    int n;
} crew_t;

/* Starts n <= CREW_MOST threads; thread i gets the i-th of the arguments,
 * which lie argument_nbytes apart. */
void crew_start(crew_t *crew, int n, void *(*work)(void *), void *arguments,
                size_t argument_nbytes);

/* Waits for all of them. */
void crew_join(crew_t *crew);

#endif
