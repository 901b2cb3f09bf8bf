/* The command line of resnet-bench. The list is options.def. */
#ifndef RN_TOOLS_BENCH_OPTIONS_H
#define RN_TOOLS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/base/cpu_features.h"

enum { BENCH_MAX_LIST = 16, BENCH_EXIT_USAGE = 2 };
enum { BENCH_ISA_BEST = RN_ISA_COUNT }; /* none was named */

typedef struct bench_list {
    int32_t count;
    int32_t values[BENCH_MAX_LIST];
} bench_list;

typedef const char *bench_option_TEXT;
typedef int32_t bench_option_INT;
typedef double bench_option_REAL;
typedef bench_list bench_option_LIST;
typedef rn_isa bench_option_ISA;
typedef bool bench_option_FLAG;

typedef struct bench_options {
    const char *subject; /* the argument that is no option: a file or a URL; NULL: none was given */
#define BENCH_OPTION(kind, name, value, subcommands, help) bench_option_##kind name;
#include "tools/bench/options.def"
#undef BENCH_OPTION
} bench_options;

/* Subcommands, as bits: an option says which of them take it. */
#define BENCH_SUBCOMMAND_LIST(X)                                                                                                           \
    X(MODEL, model, " PATH|--synthetic=NAME", "whole network: latency and throughput")                                                     \
    X(KERNELS, kernels, "", "every kernel on every layer shape, held against the reference first")                                         \
    X(INPUT, input, "", "what a request costs beside the network, on one core")                                                            \
    X(SERVE, serve, " http://HOST:PORT", "a load test of a running server")                                                                \
    X(TUNE, tune, " PATH|--synthetic=NAME", "measures ahead what a server with GPUs would measure at its start")

typedef enum {
#define BENCH_SUBCOMMAND_PLACE(bit, name, subject, help) BENCH_PLACE_##bit,
    BENCH_SUBCOMMAND_LIST(BENCH_SUBCOMMAND_PLACE)
#undef BENCH_SUBCOMMAND_PLACE
#define BENCH_SUBCOMMAND_BIT(bit, name, subject, help) BENCH_##bit = 1 << BENCH_PLACE_##bit,
    BENCH_SUBCOMMAND_LIST(BENCH_SUBCOMMAND_BIT)
#undef BENCH_SUBCOMMAND_BIT
} bench_subcommand;

/* Each measures and prints, and returns the exit code. */
#define BENCH_SUBCOMMAND_RUN(bit, name, subject, help) int bench_##name(const bench_options *options);
BENCH_SUBCOMMAND_LIST(BENCH_SUBCOMMAND_RUN)
#undef BENCH_SUBCOMMAND_RUN

/* argv[1] on, for that subcommand. A bad argument ends the program with BENCH_EXIT_USAGE and a sentence that names it. */
void bench_options_parse(int argc, char **argv, bench_subcommand subcommand, bench_options *out);

void bench_options_help(FILE *to);

#endif
