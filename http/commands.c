#include "http/commands.h"

#include <string.h>

#include "kernels/base/version.h"

static const struct {
    const char *word, *usage, *help;
    rn_command run;
} table[] = {
#define RN_COMMAND(word, function, usage, help) {#word, usage, help, function},
#include "http/commands.def"
#undef RN_COMMAND
};

rn_command rn_command_find(const char *word)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].word, word) == 0) return table[i].run;
    return NULL;
}

void rn_commands_print_help(FILE *stream)
{
    fprintf(stream, "\nBesides serving:\n");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char left[64];
        snprintf(left, sizeof left, "resnetd %s %s", table[i].word, table[i].usage);
        fprintf(stream, "  %-40s %s\n", left, table[i].help);
    }
}

int rn_command_version(int argc, char **argv, FILE *out)
{
    (void)argc, (void)argv;
    fprintf(out, "resnetd %s (%s)\n", rn_version, rn_commit);
    return 0;
}
