/* One loaded version of a model, ready to answer: plan, prepared backend and batch queue for each device.
 *
 * A model is counted: whoever holds a reference may submit requests from any thread. Requests hold one each.
 */
#ifndef RN_ENGINE_MODEL_H
#define RN_ENGINE_MODEL_H

#include <stdatomic.h>

#include "engine/backend.h"
#include "engine/replicas.h"
#include "engine/workers.h"

typedef struct rn_model rn_model;

typedef struct rn_model_options {
    rn_backend_options backend; /* its `device` counts when the list below is empty */
    const int32_t *devices;     /* [device_count] the plan is prepared for each of them; borrowed during create */
    int32_t device_count;
    int32_t max_waiting_rows; /* of the batch queue of each device, at least 1 */
    int32_t max_request_rows; /* of one request; 0: max_waiting_rows */
    int64_t max_image_pixels; /* of an encoded picture, as rn_picture_source has it; 0: RN_IMAGE_MAX_PIXELS */
    bool every_size;          /* the self-test also runs larger batches, so that no request is the first of its size: see self_test.h */
    bool one_at_a_time;       /* as in rn_batcher_options, like the next two */
    int64_t gather_us, target_us;
    rn_device_lost_fn *device_lost; /* or NULL: nobody wants to know */
    void *device_lost_context;
    rn_model_metrics *metrics; /* of this version: where to count; NULL: nowhere */
} rn_model_options;

/* Prepares `plan` for the backend's devices (widened, where it is quantised and they have no int8), runs every signature on each with a made-up
 * input (INTERNAL when a result is not finite) and with the plan's goldens (FAILED_PRECONDITION when an answer is another), and starts the batch queues.
 * Takes the plan, also on failure. workers decode pictures and must outlive the model. The caller holds the first reference. */
rn_status rn_model_create(rn_plan *plan, const rn_backend *backend, const rn_model_options *options, rn_workers *workers, rn_model **out,
                          rn_error *err);

void rn_model_acquire(rn_model *model);
/* The last release waits for the model's thread and frees everything: not from a `done` callback. NULL allowed. */
void rn_model_release(rn_model *model);

/* Whether somebody besides the caller holds a reference. Once nobody can acquire the model any more, false stays false. */
bool rn_model_is_shared(const rn_model *model);

const rn_plan *rn_model_plan(const rn_model *model);
const char *rn_model_device(const rn_model *model);           /* one line for people */

/* How it runs, for people and for clients that ask. */
typedef struct rn_model_scheduling {
    const char *backend; /* its name: static */
    int32_t device_count, max_batch;
    bool one_at_a_time;
    int64_t gather_us;
} rn_model_scheduling;

rn_model_scheduling rn_model_scheduling_of(const rn_model *model);
rn_model_metrics *rn_model_metrics_of(const rn_model *model); /* outlives the model; NULL: nobody counts */
int64_t rn_model_max_image_pixels(const rn_model *model);     /* as in the options */
int32_t rn_model_waiting_rows(rn_model *model);
int64_t rn_model_held_us(const rn_model *model); /* how long a device has been at the model's present run, the longest of all; 0: at none */
/* OVERLOADED when a request of that many rows would be refused now because the queue is full. For whoever is about to spend time on reading
 * one: whether it is let in turns out when it is submitted. Thread-safe. */
rn_status rn_model_check_room(rn_model *model, int32_t rows, rn_error *err);

/* An encoded picture: borrowed bytes. */
typedef struct rn_encoded_picture {
    const void *bytes;
    size_t byte_count;
} rn_encoded_picture;

typedef struct rn_decode rn_decode; /* private: the job that decodes one picture or fits one row */

/* One call. All its memory is one allocation. */
typedef struct rn_request rn_request;
struct rn_request {
    rn_model *model;
    const rn_signature *signature;
    int32_t rows;
    void *input;                        /* [rows][h][w][c] of the input's tensor: the caller writes it, unless there are pictures */
    rn_encoded_picture *pictures;       /* [rows], the caller sets them; NULL unless the signature begins with an image operation */
    void *outputs[RN_PLAN_MAX_OUTPUTS]; /* [rows][h][w][c] of each output's tensor: valid when status is OK */
    int32_t *classes;                   /* [rows] of whose class the map is, as rn_batch_part has it; NULL unless asked for */
    float *maps;                        /* [rows][h][w] of the explanation: valid when status is OK */
    uint8_t *scratch;                   /* scratch_bytes for the caller: what decoded base64 or the like */

    int32_t priority;             /* the smaller number runs first; 0 where nothing is asked for */
    int64_t begun_us;             /* rn_clock_us() when the call began, for the message of a deadline; 0: with rn_request_submit */
    int64_t deadline_us;          /* rn_clock_us(), 0: none */
    const atomic_bool *cancelled; /* set by anybody when the answer is not wanted any more; NULL: never */
    void (*done)(
        rn_request *request); /* once, on a thread of the engine: must not block, and must not destroy the request there and then */
    void *context;            /* the caller's */

    /* The answer, valid once `done` is called. */
    rn_status status;
    rn_error error;
    int32_t failed_picture; /* the picture that could not be decoded, or RN_NONE */
    int64_t decode_us;      /* from submit until all pictures were decoded */

    rn_batch_request batch; /* its timings are valid in `done`; the rest is private */
    atomic_int pictures_left, first_bad_picture;
    int64_t submitted_us;
    rn_decode *decodes; /* [rows] with pictures or numbers to be fitted */
    struct rn_picture *decoded; /* [rows] with pictures that the device resizes: owned until `done`, zeroed where the host did it */
    rn_picture_window *windows; /* [rows] of them */
    void *feed;                 /* [rows][h][w][c] of the feed tensor: `input` where nothing is between them */
};

/* Acquires the model. INVALID_ARGUMENT: more rows than may wait, which bounds the memory of a request whatever its text says.
 * OUT_OF_MEMORY names the size. rows may be 0: such a request is answered at once. */
rn_status rn_request_create(rn_model *model, const rn_signature *signature, int64_t rows, size_t scratch_bytes, rn_request **out,
                            rn_error *err);
/* The same with explanations, every row's for its top class until the caller writes others to `classes` (checked by the caller).
 * INVALID_ARGUMENT when the signature has none. */
rn_status rn_request_create_explained(rn_model *model, const rn_signature *signature, int64_t rows, size_t scratch_bytes, rn_request **out,
                                      rn_error *err);
void rn_request_destroy(rn_request *request); /* not while it is under way; NULL allowed */

/* Starts the request; `done` reports everything, refusals too, and may be called before this returns. */
void rn_request_submit(rn_request *request);

#endif
