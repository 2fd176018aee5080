/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A batch of sparse rows touches few coordinates, and a few bytes of each sum are other than its
 * sign: between two nodes the bytes count.  Within a node the passes over memory do.  So there are
 * two passes to write, one that counts and one that writes, and two to add, one that checks and one
 * that adds; sums pass through a buffer in the first cache, from which or to which loops over one
 * plane run in lanes.
 *
 * Tests: tests/unit/_core/test_encoding.py.
 */
#include <string.h>

#include "share/ht_encoding.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bodies are copied as they lie");

enum { GROUP = HT_SUMS_GROUP, HEAD = 8, SKIP = 65535, BUFFER = 128 };

/* Returns the next marked group from g on, or n_groups. */
static int64_t marked_from(int64_t g, const uint8_t *marks, int64_t n_groups)
{
    for (; g + 8 <= n_groups; g += 8) {
        uint64_t eight;
        memcpy(&eight, marks + g, sizeof eight);
        if (eight != 0)
            break;
    }
    while (g < n_groups && !marks[g])
        g++;
    return g;
}

/* ---- choosing --------------------------------------------------------- */

static int64_t first_kept(const int64_t *group)
{
    for (int64_t i = 0; i < GROUP; i++)
        if (group[i] != 0)
            return i;
    return 0;
}

static int64_t last_kept(const int64_t *group)
{
    for (int64_t i = GROUP - 1; i > 0; i--)
        if (group[i] != 0)
            return i;
    return 0;
}

/* Returns how many distances name no coordinate between marked groups; before: -1 for none. */
static uint32_t count_skips(const int64_t *sums, int64_t before, int64_t g)
{
    int64_t from = before < 0 ? 0 : GROUP * before + last_kept(sums + GROUP * before) + 1;
    return (uint32_t)((GROUP * g + first_kept(sums + GROUP * g) - from) / SKIP);
}

ht_encoding_t ht_encoding_choose(const int64_t *sums, const uint8_t *marks, int64_t n_groups)
{
    uint64_t bits = 0; /* that differ from the sign, of any sum */
    uint32_t n_marked = 0, n_kept = 0, n_skips = 0;
    int64_t before = -1;
    for (int64_t g = 0; (g = marked_from(g, marks, n_groups)) < n_groups; g++) {
        const int64_t *group = sums + GROUP * g;
        uint64_t any = 0;
        uint32_t n_here = 0;
        for (int i = 0; i < GROUP; i++) {
            uint64_t sum = (uint64_t)group[i];
            bits |= sum ^ (0u - (sum >> 63));
            any |= sum;
            n_here += sum != 0;
        }
        n_marked++;
        n_kept += n_here + (any == 0);
        if (GROUP * (g - before + 1) > SKIP)
            n_skips += count_skips(sums, before, g);
        before = g;
    }
    uint32_t n_bits = bits == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(bits);
    uint32_t width = n_bits / 8 + 1, n_sums = GROUP * n_marked;
    int is_whole = n_marked == n_groups;
    uint32_t nbytes = width * n_sums + (is_whole ? 0 : (uint32_t)(n_groups + 7) / 8);
    uint32_t by_places = width * n_kept + 2 * (n_kept + n_skips);
    if (by_places < nbytes)
        return (ht_encoding_t){HT_BY_COORDINATES, width, n_kept, HEAD + by_places};
    return (ht_encoding_t){is_whole ? HT_ALL_SUMS : HT_BY_GROUPS, width, n_sums, HEAD + nbytes};
}

/* ---- writing ---------------------------------------------------------- */

#define DEFINE_CUT(type, name) \
    static void name(uint8_t *plane, const int64_t *sums, int64_t n, uint32_t below) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            type part = (type)((uint64_t)sums[i] >> below); \
            memcpy(plane + (size_t)i * sizeof part, &part, sizeof part); \
        } \
    }

DEFINE_CUT(uint8_t, cut_1)
DEFINE_CUT(uint16_t, cut_2)
DEFINE_CUT(uint32_t, cut_4)

/* Writes n sums, the first of which is number `at` of the body. */
static void write_sums(const ht_encoding_t *chosen, uint8_t *body, uint32_t at, const int64_t *sums,
                       int64_t n)
{
    size_t n_sums = chosen->n_sums;
    uint8_t *plane = body + HEAD;
    uint32_t below = 0;
    if (chosen->width == 8) {
        memcpy(plane + (size_t)at * 8, sums, (size_t)n * 8);
        return;
    }
    if (chosen->width & 4) {
        cut_4(plane + (size_t)at * 4, sums, n, below);
        plane += 4 * n_sums, below += 32;
    }
    if (chosen->width & 2) {
        cut_2(plane + (size_t)at * 2, sums, n, below);
        plane += 2 * n_sums, below += 16;
    }
    if (chosen->width & 1)
        cut_1(plane + at, sums, n, below);
}

static uint8_t *after_sums(const ht_encoding_t *chosen, uint8_t *body)
{
    return body + HEAD + (size_t)chosen->width * chosen->n_sums;
}

static uint8_t *write_distance(uint8_t *at, int64_t passed)
{
    uint16_t skip = SKIP;
    for (; passed >= SKIP; passed -= SKIP, at += sizeof skip)
        memcpy(at, &skip, sizeof skip);
    uint16_t distance = (uint16_t)passed;
    memcpy(at, &distance, sizeof distance);
    return at + sizeof distance;
}

static void write_coordinates(const ht_encoding_t *chosen, const int64_t *sums,
                              const uint8_t *marks, int64_t n_groups, uint8_t *body)
{
    int64_t kept[BUFFER + GROUP], places[BUFFER + GROUP];
    uint8_t *distances = after_sums(chosen, body);
    int64_t next = 0; /* the coordinate after the last one that was named */
    uint32_t at = 0;
    for (int64_t g = 0; at < chosen->n_sums;) {
        int n = 0;
        for (; n < BUFFER && (g = marked_from(g, marks, n_groups)) < n_groups; g++) {
            int before = n;
            for (int i = 0; i < GROUP; i++) {
                kept[n] = sums[GROUP * g + i];
                places[n] = GROUP * g + i;
                n += kept[n] != 0;
            }
            if (n == before)
                places[n++] = GROUP * g; /* kept[n] is 0 */
        }
        write_sums(chosen, body, at, kept, n);
        for (int i = 0; i < n; i++) {
            distances = write_distance(distances, places[i] - next);
            next = places[i] + 1;
        }
        at += (uint32_t)n;
    }
}

static void write_groups(const ht_encoding_t *chosen, const int64_t *sums, const uint8_t *marks,
                         int64_t n_groups, uint8_t *body)
{
    int64_t buffer[BUFFER];
    uint8_t *bits = after_sums(chosen, body);
    memset(bits, 0, (size_t)(n_groups + 7) / 8);
    uint32_t at = 0;
    for (int64_t g = 0; at < chosen->n_sums;) {
        int n = 0;
        for (; n < BUFFER && (g = marked_from(g, marks, n_groups)) < n_groups; g++, n += GROUP) {
            memcpy(buffer + n, sums + GROUP * g, GROUP * sizeof *sums);
            bits[g / 8] = (uint8_t)(bits[g / 8] | 1u << g % 8);
        }
        write_sums(chosen, body, at, buffer, n);
        at += (uint32_t)n;
    }
}

void ht_encoding_write(const ht_encoding_t *chosen, const int64_t *sums, const uint8_t *marks,
                       int64_t n_groups, uint8_t *body)
{
    memset(body, 0, HEAD);
    body[0] = (uint8_t)chosen->width;
    memcpy(body + 4, &chosen->n_sums, sizeof chosen->n_sums);
    if (chosen->encoding == HT_BY_COORDINATES)
        write_coordinates(chosen, sums, marks, n_groups, body);
    else if (chosen->encoding == HT_BY_GROUPS)
        write_groups(chosen, sums, marks, n_groups, body);
    else
        write_sums(chosen, body, 0, sums, GROUP * n_groups);
}

/* ---- adding ----------------------------------------------------------- */

/* The head of a body as a choice; nbytes: 0. */
static ht_encoding_t head_of(const uint8_t *body, int encoding)
{
    ht_encoding_t head = {.encoding = encoding, .width = body[0]};
    memcpy(&head.n_sums, body + 4, sizeof head.n_sums);
    return head;
}

static const char *check_bits(const uint8_t *bits, size_t nbytes, uint32_t n_sums, int64_t n_groups)
{
    if (nbytes != (size_t)(n_groups + 7) / 8)
        return "a bit for each group";
    uint32_t n_marked = 0;
    for (size_t i = 0; i < nbytes; i++)
        n_marked += (uint32_t)__builtin_popcount(bits[i]);
    if (n_groups % 8 && bits[nbytes - 1] >> n_groups % 8)
        return "no bits beyond its groups";
    return n_sums == GROUP * n_marked ? NULL : "the sums of the groups that its bits name";
}

static const char *check_distances(const uint8_t *distances, size_t nbytes, uint32_t n_sums,
                                   int64_t n_groups)
{
    if (nbytes % 2)
        return "distances of 2 bytes";
    int64_t n_named = 0, passed = 0;
    for (size_t i = 0; i < nbytes; i += 2) {
        uint16_t distance;
        memcpy(&distance, distances + i, sizeof distance);
        n_named += distance != SKIP;
        passed += distance;
    }
    if (n_named != n_sums)
        return "a place for each sum";
    return n_named + passed <= GROUP * n_groups ? NULL : "no places beyond its coordinates";
}

const char *ht_encoding_check(const uint8_t *body, size_t nbytes, int encoding, int64_t n_groups)
{
    if (encoding < HT_BY_COORDINATES || encoding > HT_ALL_SUMS)
        return "an encoding of 1 .. 3";
    if (nbytes < HEAD)
        return "a head of 8 bytes";
    ht_encoding_t head = head_of(body, encoding);
    if (head.width < 1 || head.width > 8)
        return "a width of 1 .. 8 bytes";
    if (head.n_sums > GROUP * n_groups)
        return "at most a sum for each coordinate";
    size_t end = HEAD + (size_t)head.width * head.n_sums;
    if (end > nbytes)
        return "as many sums as its head says";
    if (encoding == HT_BY_COORDINATES)
        return check_distances(body + end, nbytes - end, head.n_sums, n_groups);
    if (encoding == HT_BY_GROUPS)
        return check_bits(body + end, nbytes - end, head.n_sums, n_groups);
    return head.n_sums == GROUP * n_groups && end == nbytes ? NULL : "all sums, and nothing else";
}

/* Adds parts of n sums to `sums`; the upper part of a sum is signed. */
#define DEFINE_PASTE(type, name) \
    static void name(int64_t *sums, const uint8_t *plane, int64_t n, uint32_t below) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            type part; \
            memcpy(&part, plane + (size_t)i * sizeof part, sizeof part); \
            sums[i] = (int64_t)((uint64_t)sums[i] + ((uint64_t)(int64_t)part << below)); \
        } \
    }

DEFINE_PASTE(uint16_t, paste_2)
DEFINE_PASTE(uint32_t, paste_4)
DEFINE_PASTE(int8_t, paste_signed_1)
DEFINE_PASTE(int16_t, paste_signed_2)
DEFINE_PASTE(int32_t, paste_signed_4)
DEFINE_PASTE(int64_t, paste_8)

/* Adds n sums, the first of which is number `at` of the body, to `sums`. */
static void add_sums(const ht_encoding_t *head, const uint8_t *body, uint32_t at, int64_t *sums,
                     int64_t n)
{
    size_t n_sums = head->n_sums;
    const uint8_t *plane = body + HEAD;
    uint32_t width = head->width, below = 0;
    if (width == 8)
        paste_8(sums, plane + (size_t)at * 8, n, below);
    if (width & 4) {
        (width == 4 ? paste_signed_4 : paste_4)(sums, plane + (size_t)at * 4, n, below);
        plane += 4 * n_sums, below += 32;
    }
    if (width & 2) {
        (width & 1 ? paste_2 : paste_signed_2)(sums, plane + (size_t)at * 2, n, below);
        plane += 2 * n_sums, below += 16;
    }
    if (width & 1)
        paste_signed_1(sums, plane + at, n, below);
}

static void add_coordinates(const ht_encoding_t *head, const uint8_t *body, int64_t *sums,
                            uint8_t *marks)
{
    const uint8_t *distances = body + HEAD + (size_t)head->width * head->n_sums;
    int64_t next = 0; /* the coordinate after the last one that was named */
    for (uint32_t at = 0; at < head->n_sums;) {
        int64_t buffer[BUFFER] = {0};
        uint32_t left = head->n_sums - at, n = left < BUFFER ? left : BUFFER;
        add_sums(head, body, at, buffer, n);
        for (uint32_t i = 0; i < n; distances += 2) {
            uint16_t distance;
            memcpy(&distance, distances, sizeof distance);
            next += distance;
            if (distance == SKIP)
                continue;
            sums[next] = (int64_t)((uint64_t)sums[next] + (uint64_t)buffer[i]);
            marks[next / GROUP] = 1;
            next++, i++;
        }
        at += n;
    }
}

static void add_groups(const ht_encoding_t *head, const uint8_t *body, int64_t n_groups,
                       int64_t *sums, uint8_t *marks)
{
    const uint8_t *bits = body + HEAD + (size_t)head->width * head->n_sums;
    uint32_t at = 0;
    for (int64_t g = 0; g < n_groups; g++) {
        if (!(bits[g / 8] >> g % 8 & 1))
            continue;
        add_sums(head, body, at, sums + GROUP * g, GROUP);
        marks[g] = 1;
        at += GROUP;
    }
}

void ht_encoding_add(const uint8_t *body, int encoding, int64_t n_groups, int64_t *sums,
                     uint8_t *marks)
{
    ht_encoding_t head = head_of(body, encoding);
    if (encoding == HT_BY_COORDINATES) {
        add_coordinates(&head, body, sums, marks);
    } else if (encoding == HT_BY_GROUPS) {
        add_groups(&head, body, n_groups, sums, marks);
    } else {
        add_sums(&head, body, 0, sums, GROUP * n_groups);
        memset(marks, 1, (size_t)n_groups);
    }
}

void ht_encoding_clear(int64_t *sums, uint8_t *marks, int64_t n_groups)
{
    for (int64_t g = 0; (g = marked_from(g, marks, n_groups)) < n_groups; g++) {
        memset(sums + GROUP * g, 0, GROUP * sizeof *sums);
        marks[g] = 0;
    }
}
