/* What the stand-in libraries share: the stream queue, failure injection and
 * the count of live objects. Not for kernels and not for tests.
 *
 * How: work on a stream is a closure. It is not run when it is enqueued but
 * when something waits for the stream, so that a missing synchronisation shows
 * up as stale data instead of passing by luck.
 */
#ifndef RN_EMULATION_INTERNAL_H
#define RN_EMULATION_INTERNAL_H

#include <functional>

#include <cuda_runtime_api.h>

namespace rn_emulation
{

using Work = std::function<void()>;

/* Appends to the stream, or to the graph being captured from it. */
cudaError_t enqueue(cudaStream_t stream, Work work);

/* Status to return instead of running, or 0. */
int injected_failure(const char *function);

/* Aborts with a message unless [address, address + bytes) lies in one device
 * allocation. Call while enqueueing: addresses are known then. */
void require_device_range(const void *address, size_t bytes, const char *what);

void count_object(int change);

/* Records a launch error for cudaGetLastError. */
void set_last_error(cudaError_t error);

/* Runs one block grid on fibers; called when the stream reaches the launch. */
void run_grid(const char *name, const Work &kernel, dim3 grid, dim3 block, size_t shared_bytes);

[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace rn_emulation

/* First line of every stand-in function. */
#define RN_EMULATION_CALL(status_type)                           \
    do {                                                         \
        int injected = rn_emulation::injected_failure(__func__); \
        if (injected) return static_cast<status_type>(injected); \
    } while (0)

#endif
