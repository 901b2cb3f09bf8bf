/* `resnetd WORD ...`: what the program does besides serving. The list is commands.def. */
#ifndef RN_HTTP_COMMANDS_H
#define RN_HTTP_COMMANDS_H

#include <stdio.h>

/* Gets the words behind its own, argv[0] being that, and where its result goes; returns the exit code. */
typedef int (*rn_command)(int argc, char **argv, FILE *out);

#define RN_COMMAND(word, function, usage, help) int function(int argc, char **argv, FILE *out);
#include "http/commands.def"
#undef RN_COMMAND

/* NULL: there is no such command. */
rn_command rn_command_find(const char *word);

void rn_commands_print_help(FILE *stream);

#endif
