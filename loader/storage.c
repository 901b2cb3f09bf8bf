/* Versions in object storage: what there is, and how it gets here.
 *
 * Half-written versions are noticed in the same ways as in a directory: a version without its model file is none yet, and one that lacks
 * another file cannot be loaded and is watched until it changes. One that changes while it is fetched is not taken: it is listed once more
 * in the end. */
#include "loader/storage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/io_error.h"
#include "loader/storage_location.h"

enum { URL_BYTES = 2048, ENTRY_BYTES = 128, WAIT_MS = 200 };

struct rn_storage {
    rn__http_client http;
    rn__cache cache;
    rn__store *stores;
};

/* ---- life ---- */

rn_status rn_storage_create(const rn_storage_options *options, rn_storage **out, rn_error *err)
{
    rn_storage *storage = calloc(1, sizeof *storage);
    if (!storage) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the storage");
    storage->cache.most_bytes = options->cache_max_bytes;
    storage->http = (rn__http_client){.max_retries = options->max_retries, .timeout_ms = options->timeout_ms, .log = options->log};
    storage->http.ca_file = rn__env("AWS_CA_BUNDLE");
    if (!storage->http.ca_file) storage->http.ca_file = rn__env("SSL_CERT_FILE");
    const char *directory = options->cache_directory;
    rn_status status = RN_STATUS_OK;
    if (snprintf(storage->cache.directory, sizeof storage->cache.directory, "%s", directory) >= (int)sizeof storage->cache.directory)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--model_cache_dir: %.100s...: the path is too long", directory);
    if (status == RN_STATUS_OK) status = rn__http_client_init(&storage->http, err);
    if (status == RN_STATUS_OK)
        *out = storage;
    else
        free(storage);
    return status;
}

static void close_store(rn__store *store)
{
    store->kind->close(store);
    free(store);
}

void rn_storage_destroy(rn_storage *storage)
{
    if (!storage) return;
    for (rn__store *s = storage->stores, *next; s; s = next) {
        next = s->next;
        close_store(s);
    }
    rn__http_client_deinit(&storage->http);
    free(storage);
}

void rn_storage_cancel(rn_storage *storage)
{
    if (storage) rn__http_cancel(&storage->http);
}

/* ---- places ---- */

/* The bucket's store, which keeps its credentials from one look to the next. */
static rn_status open_store(rn_storage *storage, const rn__location *location, rn__store **out, rn_error *err)
{
    for (rn__store *s = storage->stores; s; s = s->next)
        if (s->kind == location->kind && strcmp(s->bucket, location->bucket) == 0) {
            *out = s;
            return RN_STATUS_OK;
        }
    rn__store *store = calloc(1, sizeof *store);
    if (!store) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a bucket");
    *store = (rn__store){.next = storage->stores, .kind = location->kind, .http = &storage->http};
    strcpy(store->bucket, location->bucket);
    const rn_status status = store->kind->open(store, err);
    if (status != RN_STATUS_OK) {
        close_store(store);
        return status;
    }
    *out = storage->stores = store;
    return RN_STATUS_OK;
}

static rn_status list(rn_storage *storage, const char *url, rn__location *location, rn__store **store, rn__objects *out, rn_error *err)
{
    if (!storage) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: expected a directory: object storage is not read here", url);
    RN_TRY(rn__location_parse(url, location, err));
    RN_TRY(open_store(storage, location, store, err));
    return rn__location_list(*store, location, out, err);
}

/* ---- versions ---- */

/* The version that an object belongs to, and what it is called in it. False: to none. */
static bool split_version(const char *object, rn_repository_version *out, const char **rest)
{
    const char *slash = strchr(object, '/');
    char folder[sizeof out->name];
    if (!slash || (size_t)(slash - object) >= sizeof folder) return false;
    memcpy(folder, object, (size_t)(slash - object));
    folder[slash - object] = '\0';
    *rest = slash + 1;
    return rn_repository_parse_version(folder, out);
}

static rn_repository_version *find(const rn_repository_list *list, const char *name)
{
    for (int32_t i = 0; i < list->count; i++)
        if (strcmp(list->at[i].name, name) == 0) return &list->at[i];
    return NULL;
}

static rn_status find_versions(const char *base, const rn__objects *objects, rn_repository_list *out, rn_error *err)
{
    rn_repository_version version;
    const char *rest;
    bool is_model = false;
    for (int32_t i = 0; i < objects->count; i++) {
        const char *name = objects->at[i].name;
        is_model = is_model || rn_repository_is_model_name(name);
        if (split_version(name, &version, &rest) && rn_repository_is_model_name(rest) && !find(out, version.name))
            RN_TRY(rn_repository_list_add(out, &version, err));
    }
    if (out->count > 0) return rn_repository_list_sort(base, out, err);
    version = (rn_repository_version){.number = 1};
    if (is_model) return rn_repository_list_add(out, &version, err);
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: no versions among %d objects, expected such as %s/1/saved_model.pb or model.safetensors",
                   base, objects->count, base);
}

rn_status rn_storage_versions(rn_storage *storage, const char *base, rn_repository_version **out, int32_t *count, rn_error *err)
{
    rn__location location;
    rn__store *store;
    rn__objects objects;
    rn_repository_list found = {0};
    if (!rn_storage_is_url(base)) return rn_repository_versions(base, out, count, err);
    RN_TRY(list(storage, base, &location, &store, &objects, err));
    const rn_status status = find_versions(base, &objects, &found, err);
    rn__objects_deinit(&objects);
    if (status != RN_STATUS_OK) {
        free(found.at);
        return status;
    }
    *out = found.at;
    *count = found.count;
    return RN_STATUS_OK;
}

uint64_t rn_storage_stamp(rn_storage *storage, const char *path)
{
    rn__location location;
    rn__store *store;
    rn__objects objects;
    if (!rn_storage_is_url(path)) return rn_repository_stamp(path);
    if (list(storage, path, &location, &store, &objects, NULL) != RN_STATUS_OK) return 0;
    const uint64_t stamp = rn__objects_stamp(&objects);
    rn__objects_deinit(&objects);
    return stamp;
}

/* ---- fetching ---- */

static uint64_t bytes_of(const rn__objects *objects)
{
    uint64_t bytes = 0;
    for (int32_t i = 0; i < objects->count; i++) bytes += objects->at[i].size;
    return bytes;
}

/* What was fetched is what is there now: nobody was writing meanwhile. */
static rn_status check_unchanged(rn__store *store, const rn__location *location, uint64_t stamp, const char *path, rn_error *err)
{
    rn__objects now;
    RN_TRY(rn__location_list(store, location, &now, err));
    const bool same = rn__objects_stamp(&now) == stamp;
    rn__objects_deinit(&now);
    if (same) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_FAILED_PRECONDITION, "%s: its objects changed while they were fetched: it is being uploaded", path);
}

/* "resnet-3-" and the stamp: for people who look into the cache, and different for every content of every URL. */
static void name_entry(const char *path, uint64_t stamp, char out[ENTRY_BYTES])
{
    enum { MOST_WORD = 60 };
    char word[MOST_WORD + 1];
    size_t length = strlen(path), used = 0;
    for (const char *c = path + (length > MOST_WORD ? length - MOST_WORD : 0); *c && used < MOST_WORD; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '.' || *c == '_';
        if (plain)
            word[used++] = *c;
        else if (used && word[used - 1] != '-')
            word[used++] = '-';
    }
    word[used] = '\0';
    const rn__object whole = {.size = stamp, .tag = ""};
    snprintf(out, ENTRY_BYTES, "%s-%016" PRIx64, word, rn__object_stamp(&whole, path));
}

static void log_fetched(rn_storage *storage, const char *path, const rn__objects *objects, int64_t begin_ms)
{
    char line[URL_BYTES + 128];
    const double seconds = 1e-3 * (double)(rn__http_now_ms() - begin_ms);
    if (!storage->http.log) return;
    snprintf(line, sizeof line, "%s: fetched %d objects, %.1f MB in %.2f s", path, objects->count, 1e-6 * (double)bytes_of(objects),
             seconds);
    storage->http.log(line);
}

static rn_status make_entry(rn_storage *storage, rn__store *store, const rn__location *location, rn__objects *objects, const char *entry,
                            uint64_t stamp, const char *path, int fd, rn_error *err)
{
    char folder[4096];
    const int64_t begin_ms = rn__http_now_ms();
    rn__cache_path(&storage->cache, entry, true, folder, sizeof folder);
    RN_TRY(rn__cache_make_room(&storage->cache, entry, bytes_of(objects), err));
    RN_TRY(rn__download(store, location, objects, folder, false, err));
    RN_TRY(check_unchanged(store, location, stamp, path, err));
    RN_TRY(rn__cache_commit(&storage->cache, entry, fd, err));
    log_fetched(storage, path, objects, begin_ms);
    return RN_STATUS_OK;
}

static rn_status fetch_listed(rn_storage *storage, rn__store *store, const rn__location *location, rn__objects *objects, const char *path,
                              rn_storage_files *out, rn_error *err)
{
    const uint64_t stamp = rn__objects_stamp(objects);
    char entry[ENTRY_BYTES];
    int incoming;
    name_entry(path, stamp, entry);
    rn__cache_path(&storage->cache, entry, false, out->path, sizeof out->path);
    for (;;) {
        RN_TRY(rn__http_check_cancelled(&storage->http, err));
        RN_TRY(rn__cache_find(&storage->cache, entry, &out->lock_fd, err));
        if (out->lock_fd >= 0) return RN_STATUS_OK;
        RN_TRY(rn__cache_begin(&storage->cache, entry, &incoming, err));
        if (incoming >= 0) break;
        rn__http_pause(&storage->http, WAIT_MS); /* another process that shares the cache is at it */
    }
    const rn_status status = make_entry(storage, store, location, objects, entry, stamp, path, incoming, err);
    if (status == RN_STATUS_OK)
        out->lock_fd = incoming;
    else
        close(incoming);
    return status;
}

static rn_status require_objects(const rn__objects *objects, const char *path, rn_error *err)
{
    return objects->count ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: there is nothing any more", path);
}

rn_status rn_storage_fetch(rn_storage *storage, const char *path, rn_storage_files *out, rn_error *err)
{
    rn__location location;
    rn__store *store;
    rn__objects objects;
    *out = (rn_storage_files){.lock_fd = -1};
    if (!rn_storage_is_url(path)) {
        if (snprintf(out->path, sizeof out->path, "%s", path) < (int)sizeof out->path) return RN_STATUS_OK;
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", path);
    }
    RN_TRY(list(storage, path, &location, &store, &objects, err));
    rn_status status = require_objects(&objects, path, err);
    if (status == RN_STATUS_OK) status = rn__cache_open(&storage->cache, err);
    if (status == RN_STATUS_OK) status = fetch_listed(storage, store, &location, &objects, path, out, err);
    rn__objects_deinit(&objects);
    return status;
}

void rn_storage_release(rn_storage_files *files, bool damaged)
{
    if (files->lock_fd < 0) return;
    if (damaged) rn__cache_remove_tree(files->path);
    close(files->lock_fd);
    files->lock_fd = -1;
}

/* ---- copies ---- */

static rn_status summarize(rn__store *store, const rn__location *location, rn__objects *objects, rn_storage_summary *out, rn_error *err)
{
    *out = (rn_storage_summary){.objects = objects->count};
    for (int32_t i = 0; i < objects->count; i++) {
        rn__object *o = &objects->at[i];
        char key[RN__OBJECT_NAME_BYTES], what[URL_BYTES];
        rn__location_url(location, o->name, what, sizeof what);
        RN_TRY(rn__location_key(location, o->name, key, err));
        if (store->kind->examine) RN_TRY(store->kind->examine(store, key, what, o, err));
        out->bytes += o->size;
        out->unchecked += o->check.kind == RN__CHECK_NONE;
    }
    return RN_STATUS_OK;
}

rn_status rn_storage_describe(rn_storage *storage, const char *path, rn_storage_summary *out, rn_error *err)
{
    rn__location location;
    rn__store *store;
    rn__objects objects;
    RN_TRY(list(storage, path, &location, &store, &objects, err));
    rn_status status = require_objects(&objects, path, err);
    if (status == RN_STATUS_OK) status = summarize(store, &location, &objects, out, err);
    rn__objects_deinit(&objects);
    return status;
}

rn_status rn_storage_copy(rn_storage *storage, const char *path, const char *folder, rn_storage_summary *out, rn_error *err)
{
    rn__location location;
    rn__store *store;
    rn__objects objects;
    RN_TRY(list(storage, path, &location, &store, &objects, err));
    const uint64_t stamp = rn__objects_stamp(&objects);
    rn_status status = require_objects(&objects, path, err);
    if (status == RN_STATUS_OK) status = rn__make_directory(folder, 0755, err);
    if (status == RN_STATUS_OK) status = rn__download(store, &location, &objects, folder, true, err);
    if (status == RN_STATUS_OK) status = check_unchanged(store, &location, stamp, path, err);
    *out = (rn_storage_summary){.objects = objects.count, .bytes = bytes_of(&objects)};
    for (int32_t i = 0; i < objects.count; i++) out->unchecked += objects.at[i].check.kind == RN__CHECK_NONE;
    rn__objects_deinit(&objects);
    return status;
}
