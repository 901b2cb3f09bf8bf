/* The records are copied as they are: whoever serves the model runs them, and holds answers that were recorded with them against its own.
 */
#include "tools/convert/warmup_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/tf_record.h"

#define WARMUP_FOLDER "assets.extra"
#define WARMUP_FILE WARMUP_FOLDER "/tf_serving_warmup_requests"

enum { PATH_ROOM = 4096, MAX_RECORD_BYTES = 1 << 30, CHUNK = 1 << 16 };

static rn_status check_records(const char *path, rn_error *err)
{
    rn_tf_records *records;
    const uint8_t *bytes;
    size_t count;
    RN_TRY(rn_tf_records_open(path, MAX_RECORD_BYTES, &records, err));
    rn_status status;
    do {
        status = rn_tf_records_next(records, &bytes, &count, err);
    } while (status == RN_STATUS_OK && bytes);
    rn_tf_records_close(records);
    return status;
}

static bool copy_bytes(FILE *from, FILE *to)
{
    char chunk[CHUNK];
    size_t count;
    while ((count = fread(chunk, 1, sizeof chunk, from)) > 0)
        if (fwrite(chunk, 1, count, to) != count) return false;
    return !ferror(from) && fflush(to) == 0 && fsync(fileno(to)) == 0;
}

static rn_status copy_file(const char *from, const char *to, rn_error *err)
{
    char beside[PATH_ROOM];
    if (snprintf(beside, sizeof beside, "%s.%ld.tmp", to, (long)getpid()) >= (int)sizeof beside)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", to);
    FILE *in = fopen(from, "rb"), *out = in ? fopen(beside, "wbx") : NULL;
    bool good = out && copy_bytes(in, out);
    if (in) fclose(in);
    if (out && fclose(out) != 0) good = false;
    if (good && rename(beside, to) == 0) return RN_STATUS_OK;
    const int cause = errno;
    if (out) unlink(beside);
    return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: copying the warm-up requests: %s", to, strerror(cause));
}

rn_status rn_copy_warmup(const char *in, const char *model_file, rn_error *err)
{
    char from[PATH_ROOM], to[PATH_ROOM], copy[PATH_ROOM];
    if (snprintf(from, sizeof from, "%s/" WARMUP_FILE, in) >= (int)sizeof from || access(from, F_OK) != 0) return RN_STATUS_OK;
    snprintf(copy, sizeof copy, "%s", model_file);
    const char *folder = dirname(copy);
    if (snprintf(to, sizeof to, "%s/" WARMUP_FOLDER, folder) >= (int)sizeof to - 64)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", folder);
    RN_TRY(check_records(from, err));
    if (mkdir(to, 0777) != 0 && errno != EEXIST) return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: %s", to, strerror(errno));
    strcat(to, strrchr(WARMUP_FILE, '/'));
    return copy_file(from, to, err);
}
