/* The tensors of a TensorFlow checkpoint: index and shards together.
 *
 * Shards are read whole; a tensor's bytes are checked against its checksum the first time that it is asked for. One thread.
 */
#ifndef RN_LOADER_CHECKPOINT_DATA_H
#define RN_LOADER_CHECKPOINT_DATA_H

#include "engine/plan.h"
#include "loader/checkpoint_index.h"
#include "loader/constant.h"
#include "loader/saved_model.h"

typedef struct rn__checkpoint rn__checkpoint;

/* Reads <prefix>.index and the shards <prefix>.data-NNNNN-of-MMMMM. progress may be NULL. The caller owns *out. */
rn_status rn__checkpoint_open(const char *prefix, const rn_progress *progress, rn__checkpoint **out, rn_error *err);
void rn__checkpoint_close(rn__checkpoint *checkpoint); /* NULL allowed */

const rn__checkpoint_entry *rn__checkpoint_find(const rn__checkpoint *checkpoint, const char *key);
/* The same for a tensor or a part of one, as RestoreV2 names them. part: "" for all of it, or its full shape and the part's start and
 * length in each dimension, "7 7 3 8 0,7:0,7:-:0,5", "-" being a whole dimension; such a part has to be a stored slice. */
const rn__checkpoint_entry *rn__checkpoint_find_part(const rn__checkpoint *checkpoint, rn__string key, rn__string part);
uint64_t rn__checkpoint_bytes(const rn__checkpoint *checkpoint); /* of all shards together */

/* The value of an entry of this checkpoint. Floats stay in the shard where they can be used as they lie; what has to be widened, aligned
 * or put together from slices goes to `arena`. Strings point into the shard. */
rn_status rn__checkpoint_read(rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry, rn__arena *arena, rn__constant *out,
                              rn_error *err);

/* Hands the shards to `plan`, which then may keep weights that point into them. */
rn_status rn__checkpoint_give_shards(rn__checkpoint *checkpoint, rn_plan *plan, rn_error *err);

#endif
