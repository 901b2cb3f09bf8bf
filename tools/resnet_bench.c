/* resnet-bench: how fast this machine does the work of the engine and the server. Each subcommand is a file of tools/bench: what it
 * measures is held against a reference first, where there is one, and times are medians and percentiles. */
#include <string.h>

#include "tools/bench/options.h"

static const struct {
    const char *name;
    bench_subcommand subcommand;
    int (*run)(const bench_options *options);
} subcommands[] = {
#define SUBCOMMAND_LINE(bit, name, subject, help) {#name, BENCH_##bit, bench_##name},
    BENCH_SUBCOMMAND_LIST(SUBCOMMAND_LINE)
#undef SUBCOMMAND_LINE
};

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : "";
    if (strcmp(wanted, "--help") == 0) {
        bench_options_help(stdout);
        return 0;
    }
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (strcmp(wanted, subcommands[i].name) != 0) continue;
        bench_options options;
        bench_options_parse(argc - 1, argv + 1, subcommands[i].subcommand, &options);
        return subcommands[i].run(&options);
    }
    fprintf(stderr, *wanted ? "resnet-bench: there is no subcommand \"%s\"\n" : "resnet-bench: a subcommand is missing%s\n", wanted);
    bench_options_help(stderr);
    return BENCH_EXIT_USAGE;
}
