/* What a model holds, for people. */
#ifndef RN_TOOLS_CONVERT_SHOW_H
#define RN_TOOLS_CONVERT_SHOW_H

#include "engine/plan.h"

/* Prints `plan`, which was loaded from `path`. ops: every operation too. */
void rn_show_plan(const rn_plan *plan, const char *path, bool ops);

#endif
