/* One table made of the list drives getopt, the defaults and the help text. */
#include "tools/bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum { TEXT, INT, REAL, LIST, ISA, FLAG } kind;
enum {
#define SHORT_BIT(bit, name, subject, help) bit = BENCH_##bit,
    BENCH_SUBCOMMAND_LIST(SHORT_BIT)
#undef SHORT_BIT
};

typedef struct {
    const char *name, *default_text, *help;
    kind kind;
    int subcommands;
    size_t offset; /* in bench_options */
} option_line;

static const option_line table[] = {
#define BENCH_OPTION(kind, name, value, subcommands, help) {#name, value, help, kind, subcommands, offsetof(bench_options, name)},
#include "tools/bench/options.def"
#undef BENCH_OPTION
};

enum {
    OPTION_COUNT = sizeof table / sizeof *table,
    FIRST_OPTION = 256 /* what getopt returns for the first of the table: below are characters, and 1 for what is no option */
};

_Noreturn static void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void refuse(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("resnet-bench: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; resnet-bench --help lists all options\n", stderr);
    va_end(args);
    exit(BENCH_EXIT_USAGE);
}

static int32_t whole_number(const option_line *option, const char *text, long least, char **end)
{
    errno = 0;
    const long value = strtol(text, end, 10);
    if (*end == text || errno || value < least || value > INT32_MAX)
        refuse("--%s: expected a whole number from %ld, found \"%s\"", option->name, least, text);
    return (int32_t)value;
}

static bench_list list_of_numbers(const option_line *option, const char *text)
{
    bench_list list = {0};
    for (const char *at = text;;) {
        char *end;
        if (list.count == BENCH_MAX_LIST) refuse("--%s: more than %d numbers", option->name, BENCH_MAX_LIST);
        list.values[list.count++] = whole_number(option, at, 1, &end);
        if (*end == '\0') return list;
        if (*end != ',') refuse("--%s: expected numbers with commas between them, found \"%s\"", option->name, text);
        at = end + 1;
    }
}

static rn_isa instruction_set(const option_line *option, const char *text)
{
    rn_isa isa;
    if (strcmp(text, "best") == 0) return (rn_isa)BENCH_ISA_BEST;
    if (!rn_isa_by_name(text, &isa)) refuse("--%s: expected one of%s, found \"%s\"", option->name, rn_isa_names, text);
    if (isa > rn_cpu_best_isa()) refuse("--%s: this processor has %s, not %s", option->name, rn_isa_name(rn_cpu_best_isa()), text);
    return isa;
}

static void set(const option_line *option, const char *text, bench_options *out)
{
    void *field = (char *)out + option->offset;
    char *end = "";
    switch (option->kind) {
    case TEXT: *(const char **)field = text; break;
    case INT: *(int32_t *)field = whole_number(option, text, 0, &end); break;
    case REAL:
        *(double *)field = strtod(text, &end);
        if (!(*(double *)field > 0)) refuse("--%s: expected a number above 0, found \"%s\"", option->name, text);
        break;
    case LIST: *(bench_list *)field = list_of_numbers(option, text); break;
    case ISA: *(rn_isa *)field = instruction_set(option, text); break;
    case FLAG: *(bool *)field = text != NULL; break;
    }
    if (*end != '\0') refuse("--%s: expected a number, found \"%s\"", option->name, text);
}

void bench_options_parse(int argc, char **argv, bench_subcommand subcommand, bench_options *out)
{
    struct option known[OPTION_COUNT + 1] = {0};
    memset(out, 0, sizeof *out);
    for (int i = 0; i < OPTION_COUNT; i++) {
        known[i] = (struct option){.name = table[i].name, .has_arg = table[i].kind == FLAG ? no_argument : required_argument, .val = FIRST_OPTION + i};
        if (table[i].default_text) set(&table[i], table[i].default_text, out);
    }
    opterr = 0;
    for (;;) {
        const int current = optind;
        const int found = getopt_long(argc, argv, "-:", known, NULL), i = found - FIRST_OPTION;
        if (found == -1) break;
        if (found == ':') refuse("%s: expected a value", argv[current]);
        if (found == '?') refuse("%s: unknown option, or a value where none is taken", argv[current]);
        if (found == 1 && out->subject) refuse("unexpected argument \"%s\"", optarg);
        if (found == 1) out->subject = optarg;
        else if (!(table[i].subcommands & (int)subcommand)) refuse("--%s: has no meaning for %s", table[i].name, argv[0]);
        else set(&table[i], table[i].kind == FLAG ? "" : optarg, out);
    }
    if (optind < argc) refuse("unexpected argument \"%s\"", argv[optind]);
}

void bench_options_help(FILE *to)
{
    static const struct {
        const char *name, *subject, *help;
    } subcommands[] = {
#define SUBCOMMAND_LINE(bit, name, subject, help) {#name, subject, help},
        BENCH_SUBCOMMAND_LIST(SUBCOMMAND_LINE)
#undef SUBCOMMAND_LINE
    };
    enum { COUNT = sizeof subcommands / sizeof *subcommands };
    for (int i = 0; i < COUNT; i++) {
        fprintf(to, "resnet-bench %s%s [options]: %s\n", subcommands[i].name, subcommands[i].subject, subcommands[i].help);
        for (int j = 0; j < OPTION_COUNT; j++) {
            if (!(table[j].subcommands & 1 << i)) continue;
            char left[64];
            const char *value = table[j].kind == FLAG ? "" : table[j].default_text ? table[j].default_text : "...";
            snprintf(left, sizeof left, "--%s%s%s", table[j].name, *value ? "=" : "", value);
            fprintf(to, "  %-38s %s\n", left, table[j].help);
        }
    }
}
