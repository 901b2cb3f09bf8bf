/* `resnetd fetch`: a model from object storage into a directory, for init containers and for checks before a roll-out.
 *
 * A base path with versions gives its highest, into a directory of that name below --to, so that what is made can be served as a base path
 * again. A URL that is one version gives its files. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "http/commands.h"
#include "http/exit_code.h"
#include "http/flags.h"
#include "http/log.h"
#include "loader/storage.h"

enum { PATH_BYTES = 4096, MOST_PASSED_ON = 32 };

typedef struct {
    const char *from, *to; /* borrowed from argv */
    bool verify, dry_run, help;
    rn_flags flags; /* the server's, of which those about storage, cache and log may be given */
} options;

static const char help_text[] =
    "resnetd fetch --from=URL --to=DIRECTORY [--verify] [--dry-run] [flags]\n\n"
    "Brings the highest version below a gs://, s3:// or http(s):// URL, or the one that it is, into a directory. Checksums that the "
    "storage\n"
    "knows are always compared.\n\n"
    "  --from=URL       as --model_base_path\n"
    "  --to=DIRECTORY   gets <version>/..., or the files of a URL that is one version; what is there and right stays\n"
    "  --verify         also load the model, with all checks that loading makes\n"
    "  --dry-run        leave nothing behind: say what would be fetched; with --verify, fetch and load it from the cache directory\n\n"
    "The server's --model_cache_dir, --model_cache_max_bytes, --storage_max_retries, --storage_timeout_in_ms and --log_format are taken "
    "too, also\n"
    "from the environment. Exit codes: 0 done, 2 usage, 65 corrupt or no model, 66 not found, 69 storage unreachable, 77 permission "
    "denied.\n";

/* ---- arguments ---- */

/* "--name=value", or "--name value" with the value in the next argument. */
static bool take_text(int argc, char **argv, int *i, const char *name, const char **out)
{
    const size_t length = strlen(name);
    if (strncmp(argv[*i], name, length) != 0) return false;
    if (argv[*i][length] == '=') {
        *out = argv[*i] + length + 1;
        return true;
    }
    if (argv[*i][length] || *i + 1 >= argc) return false;
    *out = argv[++*i];
    return true;
}

static bool take_switch(const char *argument, const char *name, bool *out)
{
    if (strcmp(argument, name) != 0) return false;
    *out = true;
    return true;
}

static bool is_servers(const char *argument)
{
    return strncmp(argument, "--model_cache_", 14) == 0 || strncmp(argument, "--storage_", 10) == 0 ||
           strncmp(argument, "--log_format", 12) == 0;
}

static rn_status check(const options *o, rn_error *err)
{
    if (o->help) return RN_STATUS_OK;
    if (!o->from || !*o->from) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "fetch: --from is needed: the URL of a model");
    if (strstr(o->from, "$(") || (o->to && strstr(o->to, "$(")))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "fetch: \"%s\" holds a reference that was not replaced",
                       strstr(o->from, "$(") ? o->from : o->to);
    if (!rn_storage_is_url(o->from))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "fetch: --from: expected a URL, found \"%s\"", o->from);
    if (!o->dry_run && (!o->to || !*o->to)) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "fetch: --to is needed, or --dry-run");
    const rn_status status = rn_storage_check_url(o->from, err);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "fetch: --from");
    return status;
}

static rn_status parse_arguments(int argc, char **argv, options *out, rn_error *err)
{
    char *passed_on[MOST_PASSED_ON + 1] = {argv[0]};
    int count = 1;
    *out = (options){0};
    for (int i = 1; i < argc; i++) {
        if (take_text(argc, argv, &i, "--from", &out->from) || take_text(argc, argv, &i, "--to", &out->to)) continue;
        if (take_switch(argv[i], "--verify", &out->verify) || take_switch(argv[i], "--dry-run", &out->dry_run)) continue;
        if (take_switch(argv[i], "--help", &out->help)) continue;
        if (!is_servers(argv[i]) || count + 1 >= MOST_PASSED_ON)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "fetch: unknown argument \"%s\"; resnetd fetch --help lists them", argv[i]);
        passed_on[count++] = argv[i];
        if (!strchr(argv[i], '=') && i + 1 < argc) passed_on[count++] = argv[++i];
    }
    RN_TRY(rn_flags_parse(count, passed_on, &out->flags, err));
    return check(out, err);
}

/* ---- doing it ---- */

static void say_line(const char *line)
{
    rn_log(RN_LOG_INFO, "%s", line);
}

static rn_status load(const char *path, const char *url, rn_error *err)
{
    rn_plan *plan;
    const rn_status status = rn_repository_load(path, NULL, &plan, err);
    if (status != RN_STATUS_OK) {
        rn_error_prefix(err, "%s", url);
        return status;
    }
    rn_log(RN_LOG_INFO, "%s: %s; loads", url, plan->architecture);
    rn_plan_destroy(plan);
    return RN_STATUS_OK;
}

static void tell_summary(const char *url, const char *done, const rn_storage_summary *s)
{
    char unchecked[96] = "";
    if (s->unchecked) snprintf(unchecked, sizeof unchecked, "; the storage has no checksum of %d, only a size", s->unchecked);
    rn_log(RN_LOG_INFO, "%s: %d objects, %llu bytes%s%s", url, s->objects, (unsigned long long)s->bytes, done, unchecked);
}

static rn_status rehearse(rn_storage *storage, const options *o, const char *url, rn_error *err)
{
    rn_storage_summary summary;
    rn_storage_files files;
    RN_TRY(rn_storage_describe(storage, url, &summary, err));
    tell_summary(url, " to fetch", &summary);
    if (!o->verify) return RN_STATUS_OK;
    RN_TRY(rn_storage_fetch(storage, url, &files, err));
    const rn_status status = load(files.path, url, err);
    rn_storage_release(&files, true);
    return status;
}

static rn_status copy(rn_storage *storage, const options *o, const char *url, const char *folder, rn_error *err)
{
    rn_storage_summary summary;
    char done[PATH_BYTES + 16];
    RN_TRY(rn_storage_copy(storage, url, folder, &summary, err));
    snprintf(done, sizeof done, " in %s", folder);
    tell_summary(url, done, &summary);
    return o->verify ? load(folder, url, err) : RN_STATUS_OK;
}

static rn_status fetch(rn_storage *storage, const options *o, rn_error *err)
{
    rn_repository_version *versions;
    int32_t count;
    char url[PATH_BYTES], folder[PATH_BYTES];
    RN_TRY(rn_storage_versions(storage, o->from, &versions, &count, err));
    const rn_repository_version highest = versions[0];
    free(versions);
    char base[PATH_BYTES];
    size_t length = strlen(o->from);
    while (length && o->from[length - 1] == '/') length--;
    snprintf(base, sizeof base, "%.*s", (int)length, o->from);
    RN_TRY(rn_repository_version_path(base, &highest, url, sizeof url, err));
    if (o->dry_run) return rehearse(storage, o, url, err);
    RN_TRY(rn_repository_version_path(o->to, &highest, folder, sizeof folder, err));
    return copy(storage, o, url, folder, err);
}

static rn_status run(const options *o, rn_error *err)
{
    const rn_flags *flags = &o->flags;
    const rn_storage_options storage_options = {.cache_directory = flags->model_cache_dir,
                                                .cache_max_bytes = (uint64_t)flags->model_cache_max_bytes,
                                                .max_retries = (int32_t)flags->storage_max_retries,
                                                .timeout_ms = flags->storage_timeout_in_ms,
                                                .log = say_line};
    rn_storage *storage;
    RN_TRY(rn_storage_create(&storage_options, &storage, err));
    const rn_status status = fetch(storage, o, err);
    rn_storage_destroy(storage);
    return status;
}

int rn_command_fetch(int argc, char **argv, FILE *out)
{
    options o;
    rn_error err;
    if (parse_arguments(argc, argv, &o, &err) != RN_STATUS_OK) {
        rn_log(RN_LOG_ERROR, "%s", err.message);
        return EXIT_USAGE;
    }
    if (o.help) {
        fputs(help_text, out);
        return EXIT_SUCCESS;
    }
    rn_log_as_json(strcmp(o.flags.log_format, "json") == 0);
    const rn_status status = run(&o, &err);
    if (status != RN_STATUS_OK) rn_log(RN_LOG_ERROR, "%s", err.message);
    return rn_exit_code(status);
}
