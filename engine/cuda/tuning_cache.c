/* See tuning_cache.h. The file is text, one convolution a line:
 *
 *     resnetd cuda tuning 2
 *     <owner>
 *     <the numbers of conv.h> <library> <way> <microseconds>
 *     ...
 *     end <lines> <checksum of everything before>
 */
#include "engine/cuda/tuning_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ENTRIES = 1 << 16, MAX_LINE = 512, MAX_PATH = 4096 };
static const char title[] = "resnetd cuda tuning 2";

typedef struct {
    rn__conv_shape shape;
    rn__conv_choice choice;
} entry;

struct rn__tuning_cache {
    char path[MAX_PATH]; /* empty: no file */
    char owner[MAX_LINE];
    rn__log_fn *log;
    void *log_context;
    entry *entries;
    int32_t count, capacity;
    bool changed;
};

static void say(const rn__tuning_cache *cache, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const rn__tuning_cache *cache, const char *format, ...)
{
    char line[MAX_PATH + 256];
    if (!cache->log) return;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    cache->log(cache->log_context, line);
}

/* ---- lines ---- */

static void write_line(char line[MAX_LINE], const entry *e)
{
    int32_t v[RN__CONV_NUMBERS];
    int at = 0;
    rn__conv_to_numbers(&e->shape, v);
    for (int i = 0; i < RN__CONV_NUMBERS; i++) at += snprintf(line + at, (size_t)(MAX_LINE - at), "%" PRId32 " ", v[i]);
    snprintf(line + at, (size_t)(MAX_LINE - at), "%d %" PRId32 " %.3f\n", (int)e->choice.library, e->choice.way,
             (double)e->choice.microseconds);
}

static bool read_line(const char *line, entry *e)
{
    int32_t v[RN__CONV_NUMBERS];
    int library = 0, used = 0, at = 0;
    for (int i = 0; i < RN__CONV_NUMBERS; i++, at += used) {
        if (sscanf(line + at, "%" SCNd32 "%n", &v[i], &used) != 1) return false;
    }
    if (sscanf(line + at, "%d %" SCNd32 " %f%n", &library, &e->choice.way, &e->choice.microseconds, &used) != 3) return false;
    rn__conv_from_numbers(v, &e->shape);
    e->choice.library = (rn__library)library;
    return line[at + used] == '\n' && e->choice.way >= 0 && library >= 0 && library < RN__LIBRARY_COUNT;
}

/* FNV-1a: enough to notice what a crash or an editor did. */
static uint64_t checksum(uint64_t sum, const char *text)
{
    for (; *text; text++) sum = (sum ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return sum;
}
static const uint64_t CHECKSUM_START = UINT64_C(0xcbf29ce484222325);

/* ---- the file ---- */

/* Why the file cannot be used, or NULL. */
static const char *read_file(rn__tuning_cache *cache, FILE *file, rn_error *err)
{
    char line[MAX_LINE];
    uint64_t sum = CHECKSUM_START;
    if (!fgets(line, sizeof line, file) || strncmp(line, title, sizeof title - 1) != 0 || line[sizeof title - 1] != '\n')
        return "is no tuning file";
    sum = checksum(sum, line);
    if (!fgets(line, sizeof line, file)) return "is damaged";
    sum = checksum(sum, line);
    line[strcspn(line, "\n")] = 0;
    if (strcmp(line, cache->owner) != 0) return "belongs to another device, driver or library";
    for (int32_t lines = 0; fgets(line, sizeof line, file); lines++) {
        uint64_t expected;
        int32_t count;
        if (sscanf(line, "end %" SCNd32 " %" SCNx64, &count, &expected) == 2)
            return count == lines && expected == sum ? NULL : "is damaged";
        entry e;
        if (lines == MAX_ENTRIES || !read_line(line, &e)) return "is damaged";
        if (rn__tuning_cache_put(cache, &e.shape, &e.choice, err) != RN_STATUS_OK) return "is too large for memory";
        sum = checksum(sum, line);
    }
    return "is damaged";
}

rn_status rn__tuning_cache_open(const char *directory, int32_t sm, const char *owner, rn__log_fn *log, void *log_context,
                                rn__tuning_cache **out, rn_error *err)
{
    rn__tuning_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for measured choices");
    cache->log = log;
    cache->log_context = log_context;
    snprintf(cache->owner, sizeof cache->owner, "%s", owner);
    *out = cache;
    if (!directory) return RN_STATUS_OK;
    const int length = snprintf(cache->path, sizeof cache->path, "%s/resnetd-cuda-sm_%d.tuning", directory, sm);
    if (length < 0 || length >= MAX_PATH) {
        cache->path[0] = 0;
        say(cache, "choices are not kept: the path %s is too long", directory);
        return RN_STATUS_OK;
    }
    FILE *file = fopen(cache->path, "r");
    if (!file) {
        if (errno != ENOENT) say(cache, "%s cannot be read and is ignored: %s", cache->path, strerror(errno));
        return RN_STATUS_OK;
    }
    const char *why = read_file(cache, file, NULL);
    fclose(file);
    if (why) {
        say(cache, "%s %s and is ignored: convolutions are measured again", cache->path, why);
        cache->count = 0;
    }
    cache->changed = false;
    return RN_STATUS_OK;
}

void rn__tuning_cache_close(rn__tuning_cache *cache)
{
    if (!cache) return;
    free(cache->entries);
    free(cache);
}

static bool write_file(const rn__tuning_cache *cache, FILE *file)
{
    char line[MAX_LINE];
    uint64_t sum = CHECKSUM_START;
    const char *const head[] = {title, "\n", cache->owner, "\n"};
    bool good = true;
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) {
        sum = checksum(sum, head[i]);
        good = good && fputs(head[i], file) >= 0;
    }
    for (int32_t i = 0; i < cache->count && good; i++) {
        write_line(line, &cache->entries[i]);
        sum = checksum(sum, line);
        good = fputs(line, file) >= 0;
    }
    snprintf(line, sizeof line, "end %" PRId32 " %" PRIx64 "\n", cache->count, sum);
    return good && fputs(line, file) >= 0;
}

/* Through a file of another name, so that a reader sees all of it or none. */
void rn__tuning_cache_save(rn__tuning_cache *cache)
{
    if (!cache->changed || !cache->path[0]) return;
    char temporary[MAX_PATH + 32];
    snprintf(temporary, sizeof temporary, "%s.%ld", cache->path, (long)getpid());
    FILE *file = fopen(temporary, "w");
    bool good = file && write_file(cache, file);
    if (file) good = fclose(file) == 0 && good;
    good = good && rename(temporary, cache->path) == 0;
    if (good)
        cache->changed = false;
    else {
        say(cache, "%s cannot be written: %s", cache->path, strerror(errno));
        if (file) remove(temporary);
    }
}

/* ---- entries ---- */

static entry *find(const rn__tuning_cache *cache, const rn__conv_shape *shape)
{
    for (int32_t i = 0; i < cache->count; i++) {
        if (rn__conv_equal(&cache->entries[i].shape, shape)) return &cache->entries[i];
    }
    return NULL;
}

bool rn__tuning_cache_find(const rn__tuning_cache *cache, const rn__conv_shape *shape, rn__conv_choice *out)
{
    const entry *e = find(cache, shape);
    if (e) *out = e->choice;
    return e != NULL;
}

rn_status rn__tuning_cache_put(rn__tuning_cache *cache, const rn__conv_shape *shape, const rn__conv_choice *choice, rn_error *err)
{
    entry *e = find(cache, shape);
    if (!e && cache->count == cache->capacity) {
        const int32_t capacity = cache->capacity ? 2 * cache->capacity : 64;
        entry *grown = realloc(cache->entries, (size_t)capacity * sizeof *grown);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for measured choices");
        cache->entries = grown;
        cache->capacity = capacity;
    }
    if (!e) e = &cache->entries[cache->count++];
    e->shape = *shape;
    e->choice = *choice;
    cache->changed = true;
    return RN_STATUS_OK;
}
