/* What a backend is: a table of functions that prepare a plan for one device and run it.
 *
 * A backend is one folder, one exported table, and one line in backends.c. All entries are required unless marked optional, and an optional
 * one that is not there is written NULL.
 */
#ifndef RN_ENGINE_BACKEND_H
#define RN_ENGINE_BACKEND_H

#include "engine/plan.h"

typedef struct rn_executor rn_executor; /* a plan prepared for a device: private to each backend */

typedef struct rn_backend_options {
    int32_t max_batch;      /* largest number of rows of one run; at least 1 */
    int32_t thread_count;   /* host threads for one run; 0: as many as the process may use */
    const char *isa;        /* CPU: highest instruction set to use ("scalar", "avx2", "avx512", ...); NULL: the machine's best */
    bool deterministic;     /* the same bits for a row whatever else is in the batch, wherever it stands, with any number of threads: slower. A
                             * backend that cannot promise it refuses. Without it a row's rounding depends on the size of its batch */

    /* CPU: "fp32", "bf16" or "auto", the faster one whose self-test passes; NULL: fp32. CUDA: "fp32", "tf32", "fp16" or "bf16"; NULL: fp16. */
    const char *precision;

    /* CUDA; the zeros are defaults. */
    int32_t device;         /* which GPU, as the process sees them */
    size_t memory_limit_bytes;   /* most device memory to take; 0: what is free */
    const char *cache_directory; /* where measured choices are kept between runs; NULL: nowhere */

    void (*log)(void *context, const char *line); /* what is worth knowing and no failure, during prepare; NULL: nobody listens */
    void *log_context;
} rn_backend_options;

/* Part of a decoded picture, as its crop rule left it: pixels of the channels of the feed tensor. */
typedef struct rn_picture_window {
    const uint8_t *pixels;
    int32_t h, w;
    size_t row_bytes; /* from one row to the next */
} rn_picture_window;

/* A request's share of a batch: rows consecutive rows, in host memory that the caller owns until run returns. */
typedef struct rn_batch_part {
    int32_t rows;
    const void *input;                      /* [rows][h][w][c] of the signature's feed tensor, dense, 4-byte aligned */
    const rn_picture_window *pictures;      /* [rows] in place of input, where the backend resizes them: see picture_bytes. NULL: none */
    void *outputs[RN_PLAN_MAX_OUTPUTS];     /* [rows][h][w][c] of each output's tensor, dense (labels: i32 indexes) */

    /* Who wants explanations too: the class of each row, RN_NONE for the one with the largest score, which is written here. NULL: nobody. Only
     * for signatures that have explanations. */
    int32_t *classes;                       /* [rows] */
    float *maps;                            /* [rows][h][w] */
} rn_batch_part;

/* How a device is doing; -1: it does not tell. */
typedef struct rn_device_state {
    double utilization;         /* share of the last sample period, at most a second, in which something ran: 0 to 1 */
    int64_t memory_used_bytes;  /* by all processes */
    int64_t memory_total_bytes;
    int32_t celsius;
    double watts;
    char uuid[96];              /* as NVIDIA's tools show it; empty: not told */
} rn_device_state;

/* What an executor keeps on its device as long as it lives. */
#define RN_MEMORY_LIST(X)                                                                    \
    X(WEIGHTS, "weights")           /* its own copies, packed or uploaded */                 \
    X(FEATURE_MAPS, "feature_maps") /* the arena */                                          \
    X(WORKSPACE, "workspace")       /* scratch of algorithms */                              \
    X(STAGING, "staging")           /* what batches are copied through, on the device alone */
#define RN_MEMORY_ENUM(name, text) RN_MEMORY_##name,
typedef enum { RN_MEMORY_LIST(RN_MEMORY_ENUM) RN_MEMORY_COUNT } rn_memory;
#undef RN_MEMORY_ENUM

typedef struct rn_backend {
    const char *name; /* as --device spells it */

    /* Whether this backend can be used on this machine: DEVICE_FAILED with one sentence that says what is missing. */
    rn_status (*probe)(rn_error *err);

    /* Packs or uploads the weights and sizes the arena. The plan is borrowed: it must outlive the executor. UNSUPPORTED names the operation
     * that this backend cannot run. */
    rn_status (*prepare)(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err);

    /* Runs one signature on the rows of all parts together (at most max_batch) and writes their outputs. Blocks. One thread at a time.
     * DEVICE_LOST: the device does not answer any more; every later run of this executor fails alike. */
    rn_status (*run)(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err);

    /* Optional: whether prepare takes quantised plans and runs them at the speed of bytes. NULL: never. Where it does not, whoever prepares a plan
     * widens it first (engine/quantize.h). */
    bool (*runs_int8)(const rn_backend_options *options);

    /* One line for people: device, precision, kernels, threads, memory. Its first word is the device and the last one before the first
     * comma the precision: metrics are labelled with them. Owned by the executor. */
    const char *(*describe)(const rn_executor *executor);

    void (*destroy)(rn_executor *executor); /* NULL allowed */

    /* Optional: how many devices of this kind the process sees; prepare takes their numbers from 0. Called after a successful probe. NULL:
     * one. */
    int32_t (*device_count)(void);

    /* Optional, both or none: a run in two halves, so that one batch is copied while another is computed. begin takes what run takes; the
     * parts and the callers' memory are borrowed until finish, which waits for the oldest batch that was begun and writes its outputs. Two
     * may be under way; run needs that none is. Statuses as run's; a batch whose begin failed is not under way. */
    rn_status (*begin)(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err);
    rn_status (*finish)(rn_executor *executor, rn_error *err);

    /* Optional: how one of the devices is doing. Any thread; takes milliseconds. UNSUPPORTED says why nobody knows. */
    rn_status (*device_state)(int32_t device, rn_device_state *out, rn_error *err);

    /* Optional: of how many bytes, h * w * c, a window of a decoded picture may be that the device resizes to a row of this signature with an image
     * operation, equal to rn_picture_fit to the bit; 0: it takes rows alone. NULL: 0. Any thread. */
    size_t (*picture_bytes)(const rn_executor *executor, const rn_signature *signature);

    /* Optional: the smallest batch of more than `rows` rows of this signature that takes a method which no run of the executor has taken yet; 0:
     * there is none. For backends that keep nothing for a size of batch beside such methods: nobody has to run other sizes before they are needed.
     * NULL: every size may need something of its own. */
    int32_t (*next_size)(const rn_executor *executor, const rn_signature *signature, int32_t rows);

    /* Optional: what the executor keeps on its device. NULL: nobody counts. */
    void (*memory)(const rn_executor *executor, int64_t bytes[RN_MEMORY_COUNT]);
} rn_backend;

/* What a plug-in exports, as RN_BACKEND_ENTRY. contract: RN_BACKEND_CONTRACT of the program, a checksum of the headers that both sides were
 * compiled with; NULL when the plug-in's is another. The result is static. */
#define RN_BACKEND_ENTRY "rn_backend_entry"
typedef const rn_backend *rn_backend_entry_fn(unsigned long contract);

/* The backend of that name, "auto" for the best one that works here. *out is static. NOT_FOUND lists the names; DEVICE_FAILED says why
 * the one that was asked for cannot be used: there is never a fall-back from a backend asked for by name. */
rn_status rn_backend_select(const char *name, const rn_backend **out, rn_error *err);

enum { RN_MAX_DEVICES = 64 };

typedef struct rn_device_choice {
    const rn_backend *backend;
    int32_t count;                   /* at least 1 */
    int32_t devices[RN_MAX_DEVICES]; /* as rn_backend_options.device names them */
    char passed_over[RN_ERROR_MESSAGE_BYTES]; /* "auto": why nothing better was chosen; else empty */
} rn_device_choice;

/* What --device asks for: a backend's name or "auto", alone (its first device), with a number ("cuda:1") or with all ("cuda:all"). Fails as
 * rn_backend_select does; INVALID_ARGUMENT when what follows the colon is neither; DEVICE_FAILED when there is no such device. */
rn_status rn_device_choose(const char *text, rn_device_choice *out, rn_error *err);

#endif
