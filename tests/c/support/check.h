/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check: assertions of the C tests.  A failed check is counted and printed
 * with its place, and the test goes on; FINISH() ends the program.
 *
 * Any thread may check.  A check that holds touches no shared memory, so it
 * adds no order between threads that a data race could hide behind.
 */
#ifndef CHECK_H
#define CHECK_H

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

/* What is said cannot be reached. */
#define CHECK_NEVER(text) check_failed(__FILE__, __LINE__, text)

/* |found - expected| <= tolerance; false when one of them is NaN. */
#define CHECK_CLOSE(found, expected, tolerance) \
    check_close(__FILE__, __LINE__, #found, (double)(found), (double)(expected), \
                (double)(tolerance))

/* For what the test itself needs: memory, threads, processes. */
#define REQUIRE(condition) ((condition) ? (void)0 : check_broken(__FILE__, __LINE__, #condition))

/* Ends the program: status 1 if a check failed, else 0. */
#define FINISH() check_finish()

void check_failed(const char *file, int line, const char *text);
void check_close(const char *file, int line, const char *text, double found, double expected,
                 double tolerance);
_Noreturn void check_broken(const char *file, int line, const char *text);
_Noreturn void check_finish(void);

#endif
