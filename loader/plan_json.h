/* A plan as JSON text: architecture, tensors, operations and signatures, for the metadata of a model file.
 *
 * Weights appear as indexes only; weights and labels themselves are the model file's business. RN_NONE is null. Quantised tensors have "step" and
 * "zero", and "filter_steps" lists a pair of indexes, filter and steps, for every int8 filter; other plans have none of these.
 */
#ifndef RN_LOADER_PLAN_JSON_H
#define RN_LOADER_PLAN_JSON_H

#include "engine/plan.h"

/* The text of `plan`, NUL-terminated, in *out: the caller frees it. The same plan gives the same bytes. INVALID_ARGUMENT when a name is not
 * UTF-8. */
rn_status rn__plan_json_write(const rn_plan *plan, char **out, rn_error *err);

/* Adds what `text` holds to `plan`, which has its weights already and nothing else. Every index and every enumeration is checked here; how
 * they fit together is rn_plan_finish's to check, and the caller's to ask. DATA_LOSS names the entry, what was expected and what was found.
 */
rn_status rn__plan_json_read(const char *text, rn_plan *plan, rn_error *err);

#endif
