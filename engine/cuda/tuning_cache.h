/* Which way of computing each convolution was the fastest on a device, kept on disk between runs.
 *
 * A file belongs to one device, driver, cuDNN and cuBLASLt, all named in its first line: the numbers of ways mean something to those versions alone.
 * A file that is damaged or belongs to something else is ignored, with one log line, and written anew.
 */
#ifndef RN_ENGINE_CUDA_TUNING_CACHE_H
#define RN_ENGINE_CUDA_TUNING_CACHE_H

#include "engine/cuda/conv.h"
#include "kernels/base/error.h"

/* OWN: the fused kernel of conv_own.h. */
typedef enum { RN__LIBRARY_CUDNN, RN__LIBRARY_CUBLASLT, RN__LIBRARY_OWN, RN__LIBRARY_COUNT } rn__library;

typedef struct rn__conv_choice {
    rn__library library;
    int32_t way;
    float microseconds; /* as measured, with a cold L2 */
} rn__conv_choice;

typedef void rn__log_fn(void *context, const char *line);

typedef struct rn__tuning_cache rn__tuning_cache;

/* directory: where the file lies, or NULL: nothing is read or written. owner: one line of text without line ends. log: or NULL. All are copied or
 * used in this call, but `log` and its context, which later calls use. OUT_OF_MEMORY is the only failure. */
rn_status rn__tuning_cache_open(const char *directory, int32_t sm, const char *owner, rn__log_fn *log, void *log_context, rn__tuning_cache **out,
                                rn_error *err);
void rn__tuning_cache_close(rn__tuning_cache *cache); /* NULL allowed */

bool rn__tuning_cache_find(const rn__tuning_cache *cache, const rn__conv_shape *shape, rn__conv_choice *out);
rn_status rn__tuning_cache_put(rn__tuning_cache *cache, const rn__conv_shape *shape, const rn__conv_choice *choice, rn_error *err);
/* Writes the file when something was put. A failure is logged and changes nothing else: the next start measures again. */
void rn__tuning_cache_save(rn__tuning_cache *cache);

#endif
