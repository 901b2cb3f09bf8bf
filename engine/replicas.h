/* The devices of one model: the same plan prepared for each of them, a batch queue for each, one way in.
 *
 * A request goes to the device that has the fewest rows before it. A device that is lost gets no more; what waited for it comes back with
 * DEVICE_LOST and may be submitted again, to the ones that are left.
 */
#ifndef RN_ENGINE_REPLICAS_H
#define RN_ENGINE_REPLICAS_H

#include "engine/batcher.h"

typedef struct rn_replicas rn_replicas;

/* Called once for each device that is lost, on a thread of the engine: must not block. left: how many still answer. */
typedef void rn_device_lost_fn(void *context, const char *reason, int32_t left);

/* A set without devices. Plan and backend are borrowed and must outlive it. lost: NULL when nobody wants to know. */
rn_status rn_replicas_create(const rn_plan *plan, const rn_backend *backend, const rn_batcher_options *batching, rn_device_lost_fn *lost,
                             void *lost_context, rn_replicas **out, rn_error *err);

/* Takes `executor`, also on failure. At most RN_MAX_DEVICES, before the first submit. device: where to count what it does to its device; NULL:
 * nowhere. */
rn_status rn_replicas_add(rn_replicas *replicas, rn_executor *executor, rn_device_metrics *device, rn_error *err);

/* Runs what waits, then destroys the executors. Not from a `done` callback. NULL allowed. */
void rn_replicas_destroy(rn_replicas *replicas);

/* As rn_batcher_submit. DEVICE_LOST, with the reason, when no device is left. */
rn_status rn_replicas_submit(rn_replicas *replicas, rn_batch_request *request, rn_error *err);

/* As rn_backend's, of all devices; 0 where there is none. */
size_t rn_replicas_picture_bytes(const rn_replicas *replicas, const rn_signature *signature);

/* Whether a request of that many rows would be let in now, or fail for another reason than a full queue. Thread-safe. */
bool rn_replicas_have_room(rn_replicas *replicas, int32_t rows);

int32_t rn_replicas_waiting_rows(rn_replicas *replicas); /* of all queues; thread-safe */

#endif
