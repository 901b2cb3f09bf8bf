/* `resnetd fetch`: a model from object storage into a directory, for init containers and checks before a roll-out. */
#ifndef RN_HTTP_FETCH_COMMAND_H
#define RN_HTTP_FETCH_COMMAND_H

#include "http/flags.h"

typedef struct rn_fetch_options {
    const char *from, *to; /* borrowed from argv */
    bool verify, dry_run, help;
    rn_flags flags; /* of the server: the cache and the storage */
} rn_fetch_options;

/* argv[0] is the subcommand. INVALID_ARGUMENT names what is wrong with the arguments. */
rn_status rn_fetch_parse(int argc, char **argv, rn_fetch_options *out, rn_error *err);

/* How it is called. */
extern const char rn_fetch_help[];

/* Does it, and says through `say` what has been done. The statuses of loader/storage.h. */
rn_status rn_fetch_run(const rn_fetch_options *options, void (*say)(const char *line), rn_error *err);

#endif
