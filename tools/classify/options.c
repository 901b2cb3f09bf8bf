/* One table made of the list drives getopt, the defaults and the help text. */
#include "tools/classify/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum { TEXT, INT, FLAG } kind;

typedef struct {
    const char *name, *default_text, *help;
    kind kind;
    size_t offset; /* in classify_options */
} option_line;

static const option_line table[] = {
#define CLASSIFY_OPTION(kind, name, value, help) {#name, value, help, kind, offsetof(classify_options, name)},
#include "tools/classify/options.def"
#undef CLASSIFY_OPTION
};
enum { OPTION_COUNT = sizeof table / sizeof *table };

static rn_status set(const option_line *option, const char *text, classify_options *out, rn_error *err)
{
    void *field = (char *)out + option->offset;
    if (option->kind == TEXT) *(const char **)field = text;
    if (option->kind == FLAG) *(bool *)field = true;
    if (option->kind != INT) return RN_STATUS_OK;
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno || value < 0 || value > 1000000) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--%s: expected a whole number from 0 to 1000000, found \"%s\"", option->name,
                       text);
    }
    *(int32_t *)field = (int32_t)value;
    return RN_STATUS_OK;
}

rn_status classify_options_parse(int argc, char **argv, classify_options *out, int *first, rn_error *err)
{
    struct option known[OPTION_COUNT + 1] = {0};
    memset(out, 0, sizeof *out);
    for (int i = 0; i < OPTION_COUNT; i++) {
        known[i] = (struct option){.name = table[i].name, .has_arg = table[i].kind == FLAG ? no_argument : required_argument, .val = i};
        if (table[i].default_text) RN_TRY(set(&table[i], table[i].default_text, out, err));
    }
    opterr = 0;
    for (;;) {
        const int current = optind;
        const int i = getopt_long(argc, argv, ":", known, NULL);
        if (i == -1) break;
        if (i == ':') return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: expected a value", argv[current]);
        if (i == '?')
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: unknown option, or a value where none is taken", argv[optind - 1]);
        RN_TRY(set(&table[i], optarg, out, err));
    }
    *first = optind;
    return RN_STATUS_OK;
}

void classify_options_help(FILE *to)
{
    fputs("usage: resnet-classify MODEL PICTURE... [options]\n\n"
          "MODEL     a SavedModel, a converted file, or a directory with versions of one, of which the newest is taken\n"
          "PICTURE   a JPEG, PNG, GIF, BMP or WebP file, a directory with such files in it, or - for standard input\n\n",
          to);
    for (int i = 0; i < OPTION_COUNT; i++) {
        char left[64];
        const char *value = table[i].kind == FLAG ? "" : table[i].default_text ? table[i].default_text : "...";
        snprintf(left, sizeof left, "--%s%s%s", table[i].name, *value ? "=" : "", value);
        fprintf(to, "  %-22s %s\n", left, table[i].help);
    }
    fputs("\nexit status: 0 done, 1 a picture could not be classified, 2 usage, 65 bad or unsupported model, 66 model not found, 70 "
          "device, 71 out of\n"
          "memory, 77 permission denied\n",
          to);
}
