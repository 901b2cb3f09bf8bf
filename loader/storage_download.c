/* Objects become files. Large ones are cut into parts; a few transfers run side by side, each with a part of its own, and write where the
 * bytes belong.
 *
 * While it is incomplete, NAME is NAME.resnetd-part, and NAME.resnetd-progress says how far each of its parts has come, so that neither a
 * lost connection nor a process that ends has to fetch bytes twice. What is complete is checked and renamed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/io_error.h"
#include "loader/storage_download_file.h"
#include "loader/storage_private.h"

enum {
    TRANSFERS = 8,
    MOST_OBJECTS = 10000,    /* in one version */
    NOTE_BYTES = 1 << 20,    /* between two notes of a part's progress */
    ENOUGH_BYTES = 64 << 10, /* of progress, for an attempt to count as no failure */
    REASON_BYTES = 16 << 10,
    MOST_DOWNLOADS = 2, /* of an object whose checksum was wrong: once may be the network's fault */
    URL_BYTES = 2048,
};

typedef struct job job;

/* One of the transfers. */
typedef struct {
    job *job;
    rn__part_file *file; /* NULL: free */
    int32_t part;
    uint64_t begin, length, done, noted, before; /* before: done when the attempt began */
    uint64_t skip;                               /* bytes of the answer that come before the part */
    bool judged, refused, changed;               /* the answer's head has been looked at; it is no data; it is of another object */
    int write_error;
    CURL *easy; /* NULL: waits until not_before */
    int64_t not_before_ms;
    rn__http_tries tries;
    rn__http_request request;
    rn__http_answer answer;
    char what[URL_BYTES];
} transfer;

struct job {
    rn__store *store;
    const rn__location *location;
    rn__objects *objects;
    const char *folder;
    bool verify;
    rn__part_file *files; /* [objects->count] */
    int32_t next;         /* object whose parts are to be handed out */
    transfer transfers[TRANSFERS];
};

/* ---- an answer's bytes ---- */

/* "bytes 16777216-33554431/178000000" */
static bool is_range(const transfer *t, uint64_t size)
{
    char range[96], expected[96];
    rn__http_header(&t->answer, "content-range", range, sizeof range);
    snprintf(expected, sizeof expected, "bytes %llu-%llu/%llu", (unsigned long long)(t->begin + t->done),
             (unsigned long long)(t->begin + t->length - 1), (unsigned long long)size);
    return strcmp(range, expected) == 0;
}

static void judge_head(transfer *t)
{
    const uint64_t size = t->file->object->size;
    char length[32];
    t->judged = true;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->answer.code);
    t->refused = t->answer.code != 200 && t->answer.code != 206;
    if (t->answer.code == 206) t->changed = !is_range(t, size);
    if (t->answer.code != 200) return;
    rn__http_header(&t->answer, "content-length", length, sizeof length);
    t->changed = *length && strtoull(length, NULL, 10) != size;
    t->skip = t->begin + t->done; /* the server answers no ranges */
}

static bool write_bytes(transfer *t, const char *bytes, size_t count)
{
    for (size_t written = 0; written < count;) {
        const ssize_t n = pwrite(t->file->fd, bytes + written, count - written, (off_t)(t->begin + t->done));
        if (n <= 0) {
            t->write_error = n < 0 ? errno : EIO;
            return false;
        }
        written += (size_t)n;
        t->done += (uint64_t)n;
    }
    if (t->done - t->noted < NOTE_BYTES && t->done < t->length) return true;
    t->noted = t->done;
    rn__part_file_note(t->file, t->part, t->done);
    return true;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *context)
{
    transfer *t = context;
    size_t left = size * count;
    const size_t all = left;
    if (!t->judged) judge_head(t);
    if (t->changed) return 0;
    if (t->refused) {
        const size_t room = REASON_BYTES - t->answer.body.bytes;
        rn__buffer_add(&t->answer.body, bytes, left < room ? left : room);
        return all;
    }
    if (t->skip) {
        const size_t skipped = t->skip < left ? (size_t)t->skip : left;
        t->skip -= skipped;
        bytes += skipped;
        left -= skipped;
    }
    const uint64_t wanted = t->length - t->done;
    if (!write_bytes(t, bytes, left < wanted ? left : (size_t)wanted)) return 0;
    return left > wanted ? 0 : all; /* the rest is of other parts */
}

/* ---- transfers ---- */

static rn_status start(transfer *t, rn_error *err)
{
    rn__http_client *client = t->job->store->http;
    const rn__object *object = t->file->object;
    const bool whole = t->length == object->size && t->done == 0;
    t->request.begin = t->begin + t->done;
    t->request.end = whole ? 0 : t->begin + t->length;
    t->before = t->done;
    t->skip = 0;
    t->judged = t->refused = t->changed = false;
    RN_TRY(rn__http_prepare(client, &t->request, &t->answer, &t->easy, err));
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    if (curl_multi_add_handle(client->multi, t->easy) == CURLM_OK) return RN_STATUS_OK;
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: libcurl cannot begin a transfer", t->what);
}

static void stop(transfer *t)
{
    if (!t->easy) return;
    curl_multi_remove_handle(t->job->store->http->multi, t->easy);
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
    if (t->done > t->noted) rn__part_file_note(t->file, t->part, t->done);
    t->noted = t->done;
}

static void set_free(transfer *t)
{
    stop(t);
    rn__http_request_deinit(&t->request);
    rn__http_answer_deinit(&t->answer);
    *t = (transfer){.job = t->job};
}

static rn_status occupy(transfer *t, rn__part_file *file, int32_t part, rn_error *err)
{
    job *j = t->job;
    char key[RN__OBJECT_NAME_BYTES];
    *t = (transfer){.job = j, .file = file, .part = part, .begin = (uint64_t)part * file->part_bytes, .done = file->progress[part]};
    t->length = rn__part_file_length(file, part);
    t->noted = t->done;
    rn__location_url(j->location, file->object->name, t->what, sizeof t->what);
    t->request.method = "GET";
    t->request.what = t->what;
    RN_TRY(rn__location_key(j->location, file->object->name, key, err));
    return j->store->kind->get(j->store, key, file->object, &t->request, err);
}

/* What an attempt came to. The part is done, or to be tried again, or nothing can be done. */
static rn_status take_outcome(transfer *t, CURLcode code, rn_error *err)
{
    rn__http_client *client = t->job->store->http;
    int64_t delay_ms;
    rn_error why;
    if (!t->judged) judge_head(t);
    stop(t);
    if (t->write_error) {
        errno = t->write_error;
        return rn__io_error(t->file->path, err);
    }
    if (t->changed && (code == CURLE_OK || code == CURLE_WRITE_ERROR))
        return RN_FAIL(err, RN_STATUS_FAILED_PRECONDITION,
                       "%s: changed while it was being read: expected %llu bytes, found an answer of another size", t->what,
                       (unsigned long long)t->file->object->size);
    if (t->done == t->length) return RN_STATUS_OK;
    if (t->done - t->before >= ENOUGH_BYTES) t->tries = (rn__http_tries){0};
    if (code == CURLE_OK && !t->refused) code = CURLE_PARTIAL_FILE;
    if (rn__http_judge(client, &t->request, &t->answer, code, &t->tries, &delay_ms, &why) == RN__HTTP_FAILED) {
        if (err) *err = why;
        return why.status;
    }
    if (t->tries.failed == 1 && client->log) {
        char line[RN_ERROR_MESSAGE_BYTES + 64];
        snprintf(line, sizeof line, "%s; %llu bytes are here, going on", why.message, (unsigned long long)(t->begin + t->done));
        client->log(line);
    }
    t->not_before_ms = rn__http_now_ms() + delay_ms;
    return RN_STATUS_OK;
}

/* ---- files ---- */

static rn_status path_of(const job *j, const rn__object *object, char *out, size_t out_bytes, rn_error *err)
{
    if (snprintf(out, out_bytes, "%s/%s", j->folder, object->name) < (int)out_bytes) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", j->folder);
}

/* The file is complete: it is what the storage says it is, or it is fetched once more. */
static rn_status check(job *j, rn__part_file *file, rn_error *err)
{
    char what[URL_BYTES];
    rn__location_url(j->location, file->object->name, what, sizeof what);
    const rn_status status = rn__check_file(file->path, &file->object->check, what, err);
    if (status == RN_STATUS_OK) return rn__part_file_finish(file, err);
    if (status != RN_STATUS_DATA_LOSS) return status;
    RN_TRY(rn__part_file_restart(file, err));
    if (++file->downloads < MOST_DOWNLOADS) {
        j->next = 0;
        return RN_STATUS_OK;
    }
    rn_error_prefix(err, "fetched %d times", MOST_DOWNLOADS);
    return status;
}

/* Whether the file is there from an earlier time. */
static rn_status look_for(job *j, rn__part_file *file, bool *found, rn_error *err)
{
    char path[4096];
    struct stat info;
    *found = false;
    RN_TRY(path_of(j, file->object, path, sizeof path, err));
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size != file->object->size) return RN_STATUS_OK;
    if (j->verify && (file->object->check.kind == RN__CHECK_NONE || rn__check_file(path, &file->object->check, path, NULL) != RN_STATUS_OK))
        return RN_STATUS_OK;
    *found = true;
    return RN_STATUS_OK;
}

static rn_status open_file(job *j, rn__part_file *file, rn_error *err)
{
    rn__object *object = file->object;
    char path[4096], what[URL_BYTES], key[RN__OBJECT_NAME_BYTES];
    bool found;
    RN_TRY(rn__http_check_cancelled(j->store->http, err));
    rn__location_url(j->location, object->name, what, sizeof what);
    RN_TRY(rn__location_key(j->location, object->name, key, err));
    if (j->store->kind->examine) RN_TRY(j->store->kind->examine(j->store, key, what, object, err));
    RN_TRY(look_for(j, file, &found, err));
    if (found) {
        file->finished = file->renamed = true;
        return RN_STATUS_OK;
    }
    RN_TRY(path_of(j, object, path, sizeof path, err));
    RN_TRY(rn__part_file_open(file, j->folder, path, err));
    return rn__part_file_is_complete(file) ? check(j, file, err) : RN_STATUS_OK;
}

/* ---- the whole ---- */

static bool is_under_way(const job *j, const rn__part_file *file, int32_t part)
{
    for (int i = 0; i < TRANSFERS; i++)
        if (j->transfers[i].file == file && j->transfers[i].part == part) return true;
    return false;
}

/* The next part that nobody has, in *part; -1: there is none. */
static rn_status next_part(job *j, rn__part_file **file, int32_t *part, rn_error *err)
{
    for (; j->next < j->objects->count; j->next++) {
        rn__part_file *f = *file = &j->files[j->next];
        if (!f->finished && f->fd < 0) RN_TRY(open_file(j, f, err));
        for (*part = 0; !f->finished && *part < f->part_count; ++*part)
            if (f->progress[*part] < rn__part_file_length(f, *part) && !is_under_way(j, f, *part)) return RN_STATUS_OK;
    }
    *part = -1;
    return RN_STATUS_OK;
}

/* Gives work to transfers that are free or have waited. *busy: how many have any; *wait_ms: until one of them may go on. */
static rn_status hand_out(job *j, int *busy, int64_t *wait_ms, rn_error *err)
{
    *busy = 0;
    *wait_ms = 1000;
    for (int i = 0; i < TRANSFERS; i++) {
        transfer *t = &j->transfers[i];
        if (!t->file) {
            rn__part_file *file;
            int32_t part;
            RN_TRY(next_part(j, &file, &part, err));
            if (part < 0) continue;
            RN_TRY(occupy(t, file, part, err));
        }
        ++*busy;
        if (t->easy) continue;
        const int64_t left = t->not_before_ms - rn__http_now_ms();
        if (left <= 0)
            RN_TRY(start(t, err));
        else if (left < *wait_ms)
            *wait_ms = left;
    }
    return RN_STATUS_OK;
}

static rn_status take_finished(job *j, bool *any, rn_error *err)
{
    int left;
    *any = false;
    for (CURLMsg *message; (message = curl_multi_info_read(j->store->http->multi, &left)) != NULL;) {
        transfer *t;
        if (message->msg != CURLMSG_DONE) continue;
        *any = true;
        const CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        RN_TRY(take_outcome(t, code, err));
        if (t->done < t->length) continue;
        rn__part_file *file = t->file;
        set_free(t);
        if (rn__part_file_is_complete(file)) RN_TRY(check(j, file, err));
    }
    return RN_STATUS_OK;
}

static rn_status transfer_all(job *j, rn_error *err)
{
    for (;;) {
        int busy, running;
        bool any;
        int64_t wait_ms;
        RN_TRY(rn__http_check_cancelled(j->store->http, err));
        RN_TRY(hand_out(j, &busy, &wait_ms, err));
        if (!busy) return RN_STATUS_OK;
        curl_multi_perform(j->store->http->multi, &running);
        RN_TRY(take_finished(j, &any, err));
        if (!any) rn__http_wait(j->store->http, wait_ms);
    }
}

static rn_status rename_all(job *j, bool model_files, rn_error *err)
{
    for (int32_t i = 0; i < j->objects->count; i++) {
        rn__part_file *file = &j->files[i];
        if (file->renamed || rn_repository_is_model_name(file->object->name) != model_files) continue;
        char path[4096];
        RN_TRY(path_of(j, file->object, path, sizeof path, err));
        RN_TRY(rn__part_file_rename(file, path, err));
    }
    return RN_STATUS_OK;
}

rn_status rn__download(rn__store *store, const rn__location *location, rn__objects *objects, const char *folder, bool verify, rn_error *err)
{
    if (objects->count > MOST_OBJECTS)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%d objects, expected at most %d in one version", objects->count, MOST_OBJECTS);
    job *j = calloc(1, sizeof *j);
    rn__part_file *files = calloc((size_t)objects->count + 1, sizeof *files);
    rn_status status = j && files ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a download");
    if (status == RN_STATUS_OK) {
        *j = (job){.store = store, .location = location, .objects = objects, .folder = folder, .verify = verify, .files = files};
        for (int i = 0; i < TRANSFERS; i++) j->transfers[i].job = j;
        for (int32_t i = 0; i < objects->count; i++) files[i] = (rn__part_file){.object = &objects->at[i], .fd = -1, .progress_fd = -1};
        status = transfer_all(j, err);
        for (int i = 0; i < TRANSFERS; i++) set_free(&j->transfers[i]);
        if (status == RN_STATUS_OK) status = rename_all(j, false, err);
        if (status == RN_STATUS_OK) status = rename_all(j, true, err);
        for (int32_t i = 0; i < objects->count; i++) rn__part_file_close(&files[i]);
    }
    free(files);
    free(j);
    return status;
}
