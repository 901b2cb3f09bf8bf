/* The command line of resnet-classify. The list is options.def. */
#ifndef RN_TOOLS_CLASSIFY_OPTIONS_H
#define RN_TOOLS_CLASSIFY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/base/error.h"

typedef const char *classify_option_TEXT;
typedef int32_t classify_option_INT;
typedef bool classify_option_FLAG;

typedef struct classify_options {
#define CLASSIFY_OPTION(kind, name, value, help) classify_option_##kind name;
#include "tools/classify/options.def"
#undef CLASSIFY_OPTION
} classify_options;

/* Options may stand before, between and behind the arguments, which argv[*first] to argv[argc - 1] are afterwards. INVALID_ARGUMENT names
 * the option. */
rn_status classify_options_parse(int argc, char **argv, classify_options *out, int *first, rn_error *err);
void classify_options_help(FILE *to);

#endif
