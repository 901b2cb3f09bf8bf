/* The command line and the environment of resnetd. The list is flags.def. */
#ifndef RN_HTTP_FLAGS_H
#define RN_HTTP_FLAGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/base/error.h"

typedef struct rn_flags {
#define RN_FLAG_TEXT(name, value, help) const char *name; /* borrowed from argv or the environment */
#define RN_FLAG_INT(name, value, least, most, help) int64_t name;
#define RN_FLAG_BOOL(name, value, help) bool name;
#define RN_FLAG_IGNORED(name) bool name; /* whether it was given */
#include "http/flags.def"
#undef RN_FLAG_TEXT
#undef RN_FLAG_INT
#undef RN_FLAG_BOOL
#undef RN_FLAG_IGNORED
} rn_flags;

/* Defaults, then MODEL_NAME and MODEL_BASE_PATH when the program is called tf_serving_entrypoint.sh, then the environment, then the command
 * line. INVALID_ARGUMENT names the flag: unknown, a bad value, or a value that holds a
 * Kubernetes reference such as $(NAME) that nobody replaced. May be called once a process: getopt is not reentrant. */
rn_status rn_flags_parse(int argc, char **argv, rn_flags *out, rn_error *err);

/* INVALID_ARGUMENT: a value that there is not, or flags that do not go together. */
rn_status rn_flags_check(const rn_flags *flags, rn_error *err);

void rn_flags_print_help(FILE *stream);

/* Calls visit with the name of every ignored flag that was given. */
void rn_flags_each_ignored(const rn_flags *flags, void (*visit)(const char *name));

#endif
