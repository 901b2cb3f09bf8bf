/* One table made of the list drives getopt, the environment and the help text. */
#include "http/flags.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum { TEXT, INT, BOOL, IGNORED } flag_kind;

typedef struct {
    const char *name, *help, *default_text;
    flag_kind kind;
    size_t offset; /* in rn_flags */
    int64_t least, most;
} flag;

static const flag table[] = {
#define RN_FLAG_TEXT(name, value, help) {#name, help, value, TEXT, offsetof(rn_flags, name), 0, 0},
#define RN_FLAG_INT(name, value, least, most, help) {#name, help, #value, INT, offsetof(rn_flags, name), least, most},
#define RN_FLAG_BOOL(name, value, help) {#name, help, #value, BOOL, offsetof(rn_flags, name), 0, 0},
#define RN_FLAG_IGNORED(name) {#name, NULL, NULL, IGNORED, offsetof(rn_flags, name), 0, 0},
#include "http/flags.def"
};

enum { FLAG_COUNT = sizeof table / sizeof table[0] };

static rn_status set_int(const flag *f, const char *value, int64_t *out, rn_error *err)
{
    char *end;
    errno = 0;
    const long long number = strtoll(value, &end, 10);
    if (end == value || *end != '\0')
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--%s: expected a number, found \"%s\"", f->name, value);
    if (errno || number < f->least || number > f->most)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--%s: expected %lld to %lld, found %s", f->name, (long long)f->least,
                       (long long)f->most, value);
    *out = number;
    return RN_STATUS_OK;
}

/* value is NULL for a flag that stands alone. */
static rn_status set_bool(const flag *f, const char *value, bool *out, rn_error *err)
{
    if (!value || strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0) {
        *out = true;
    } else if (strcasecmp(value, "false") == 0 || strcmp(value, "0") == 0) {
        *out = false;
    } else {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--%s: expected true or false, found \"%s\"", f->name, value);
    }
    return RN_STATUS_OK;
}

static rn_status set(const flag *f, const char *value, rn_flags *out, rn_error *err)
{
    void *field = (char *)out + f->offset;
    if (value && strstr(value, "$("))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "--%s: \"%s\" holds a reference that was not replaced: is the variable defined before it is used?", f->name, value);
    switch (f->kind) {
    case TEXT:
        *(const char **)field = value;
        return RN_STATUS_OK;
    case INT:
        return set_int(f, value, field, err);
    case BOOL:
        return set_bool(f, value, field, err);
    default:
        *(bool *)field = true;
        return RN_STATUS_OK;
    }
}

static rn_status set_from_environment(const flag *f, rn_flags *out, rn_error *err)
{
    char name[128];
    const int length = snprintf(name, sizeof name, "RESNETD_%s", f->name);
    for (int i = 0; i < length; i++) name[i] = (char)toupper((unsigned char)name[i]);
    const char *value = getenv(name);
    if (!value || !*value) return RN_STATUS_OK; /* Kubernetes sets a variable whose source has nothing for it to the empty string */
    const rn_status status = set(f, value, out, err);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", name);
    return status;
}

/* The image of TensorFlow Serving starts with a script of this name, which makes flags out of two variables. Here it is a link to the
 * program. */
static rn_status set_from_entrypoint(const char *program, rn_flags *out, rn_error *err)
{
    static char path[4096];
    const char *slash = strrchr(program, '/'), *name = getenv("MODEL_NAME"), *base = getenv("MODEL_BASE_PATH");
    if (strcmp(slash ? slash + 1 : program, "tf_serving_entrypoint.sh") != 0) return RN_STATUS_OK;
    out->model_name = name ? name : "model";
    const int length = snprintf(path, sizeof path, "%s/%s", base ? base : "/models", out->model_name);
    if (length >= (int)sizeof path) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "MODEL_BASE_PATH/MODEL_NAME is %d bytes long", length);
    out->model_base_path = path;
    return RN_STATUS_OK;
}

static int wants_value(flag_kind kind)
{
    return kind == BOOL || kind == IGNORED ? optional_argument : required_argument;
}

/* getopt_long answers with an option's value, or with ':' or '?' where something is wrong: values begin above all characters. */
enum { FIRST_VALUE = 256 };

rn_status rn_flags_parse(int argc, char **argv, rn_flags *out, rn_error *err)
{
    struct option options[FLAG_COUNT + 1] = {0};
    memset(out, 0, sizeof *out);
    for (int i = 0; i < FLAG_COUNT; i++) {
        options[i] = (struct option){.name = table[i].name, .has_arg = wants_value(table[i].kind), .val = FIRST_VALUE + i};
        if (table[i].kind != IGNORED) RN_TRY(set(&table[i], table[i].default_text, out, err));
    }
    RN_TRY(set_from_entrypoint(argv[0], out, err));
    for (int i = 0; i < FLAG_COUNT; i++) RN_TRY(set_from_environment(&table[i], out, err));
    opterr = 0;
    for (;;) {
        const int current = optind;
        const int value = getopt_long(argc, argv, "+:", options, NULL);
        if (value == -1) break;
        if (value == ':') return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: expected a value", argv[current]);
        if (value == '?') return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unknown flag %s", argv[current]);
        const int i = value - FIRST_VALUE;
        RN_TRY(set(&table[i], optarg, out, err));
        /* "--flag value" of an ignored flag: its value is not an argument of ours. */
        if (table[i].kind == IGNORED && !optarg && optind < argc && strncmp(argv[optind], "--", 2) != 0) optind++;
    }
    if (optind < argc) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected argument \"%s\"", argv[optind]);
    return RN_STATUS_OK;
}

void rn_flags_print_help(FILE *stream)
{
    fprintf(stream, "resnetd --model_base_path=DIRECTORY [flags]\n\nEach flag is also read from the environment: RESNETD_MODEL_NAME and so "
                    "on. An empty variable is as good as none.\n\n");
    for (int i = 0; i < FLAG_COUNT; i++) {
        if (table[i].kind == IGNORED) continue;
        char left[64];
        snprintf(left, sizeof left, "--%s=%s", table[i].name, *table[i].default_text ? table[i].default_text : "...");
        fprintf(stream, "  %-40s %s\n", left, table[i].help);
    }
    fprintf(stream, "\nThe other flags of tensorflow_model_server that have nothing to set here are accepted and ignored:\n");
    for (int i = 0; i < FLAG_COUNT; i++)
        if (table[i].kind == IGNORED) fprintf(stream, "  --%s\n", table[i].name);
}

void rn_flags_each_ignored(const rn_flags *flags, void (*visit)(const char *name))
{
    for (int i = 0; i < FLAG_COUNT; i++)
        if (table[i].kind == IGNORED && *(const bool *)((const char *)flags + table[i].offset)) visit(table[i].name);
}
