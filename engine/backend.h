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

    /* CPU: "fp32", "bf16" or "auto", the faster one whose self-test passes; NULL: fp32. CUDA: "fp32", "tf32", "fp16" or "bf16"; NULL: fp16. */
    const char *precision;

    /* CUDA; the zeros are defaults. */
    int32_t device;         /* which GPU, as the process sees them */
    size_t memory_limit_bytes;   /* most device memory to take; 0: what is free */
    const char *cache_directory; /* where measured choices are kept between runs; NULL: nowhere */

    void (*log)(void *context, const char *line); /* what is worth knowing and no failure, during prepare; NULL: nobody listens */
    void *log_context;
} rn_backend_options;

/* A request's share of a batch: rows consecutive rows, in host memory that the caller owns until run returns. */
typedef struct rn_batch_part {
    int32_t rows;
    const void *input;                      /* [rows][h][w][c] of the signature's feed tensor, dense, 4-byte aligned */
    void *outputs[RN_PLAN_MAX_OUTPUTS];     /* [rows][h][w][c] of each output's tensor, dense (labels: i32 indexes) */
} rn_batch_part;

typedef struct rn_backend {
    const char *name; /* as --device spells it */

    /* Whether this backend can be used on this machine: DEVICE_FAILED with one sentence that says what is missing. */
    rn_status (*probe)(rn_error *err);

    /* Packs or uploads the weights and sizes the arena. The plan is borrowed: it must outlive the executor. UNSUPPORTED names the operation that
     * this backend cannot run. */
    rn_status (*prepare)(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err);

    /* Runs one signature on the rows of all parts together (at most max_batch) and writes their outputs. Blocks. One thread at a time. */
    rn_status (*run)(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err);

    /* Optional: whether prepare takes quantised plans and runs them at the speed of bytes. NULL: never. Where it does not, whoever prepares a plan
     * widens it first (engine/quantize.h). */
    bool (*runs_int8)(const rn_backend_options *options);

    /* One line for people: device, precision, kernels, threads, memory. Its first word is the device and the last one before the first
     * comma the precision: metrics are labelled with them. Owned by the executor. */
    const char *(*describe)(const rn_executor *executor);

    void (*destroy)(rn_executor *executor); /* NULL allowed */
} rn_backend;

/* What a plug-in exports, as RN_BACKEND_ENTRY. contract: RN_BACKEND_CONTRACT of the program, a checksum of the headers that both sides were
 * compiled with; NULL when the plug-in's is another. The result is static. */
#define RN_BACKEND_ENTRY "rn_backend_entry"
typedef const rn_backend *rn_backend_entry_fn(unsigned long contract);

/* The backend of that name, "auto" for the best one that works here. *out is static. NOT_FOUND lists the names; DEVICE_FAILED says why
 * the one that was asked for cannot be used: there is never a fall-back from a backend asked for by name. */
rn_status rn_backend_select(const char *name, const rn_backend **out, rn_error *err);

#endif
