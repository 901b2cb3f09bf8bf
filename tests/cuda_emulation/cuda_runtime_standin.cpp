/* The CUDA runtime calls that the backend makes, on the host (tests only).
 *
 * Why: the backend's logic (allocation, ordering, graph capture, error paths)
 * is plain C and can be tested without a GPU once these symbols exist. They
 * have the real names and prototypes, so the backend is compiled unchanged and
 * linked with this file instead of libcudart.
 *
 * How: a stream is a queue of closures which runs when something waits for it.
 * While a stream is captured the closures go into a graph instead; a graph
 * launch enqueues them again. Device memory is heap memory of exactly the asked
 * size (AddressSanitizer then guards its ends), filled with NaNs, and under
 * AddressSanitizer it is poisoned whenever no device work is running, so that
 * host code that follows a device pointer is caught.
 *
 * There may be several devices: each thread has a current one, memory and
 * streams belong to the one they were made on, and work on a stream of another
 * device is refused, as a real launch is. An event stands for its latest record
 * when something waits for it, whatever is recorded later.
 */
#include "emulation_control.h"
#include "emulation_internal.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#ifdef RN_EMULATION_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

using rn_emulation::Work;

struct CUgraph_st {
    std::vector<Work> nodes;
};

struct CUgraphExec_st {
    std::shared_ptr<std::vector<Work>> nodes;
};

struct CUstream_st {
    int device = 0;
    std::deque<Work> queue;
    std::unique_ptr<CUgraph_st> capture;
    bool capture_broken = false;
};

struct Record {
    CUstream_st *stream = nullptr; /* null once reached */
    long time = 0;                 /* pieces of work that the device had done when it was reached */
};

struct CUevent_st {
    std::shared_ptr<Record> last = std::make_shared<Record>();
};

namespace
{

constexpr int max_devices = 8;

struct Allocation {
    size_t bytes;
    int device;
};

std::recursive_mutex lock;
std::map<uintptr_t, Allocation> allocations;
std::vector<CUstream_st *> streams;
CUstream_st default_streams[max_devices];
thread_local int current_device;
cudaError_t last_error = cudaSuccess;
long live_objects;
int draining;
long device_time;
size_t memory_limit = size_t(8) << 30;
int sticky[max_devices]; /* the error that every call to a device returns from now on, or 0 */
int driver_version = CUDART_VERSION;
int device_count = 1;

struct Failure {
    std::string function;
    long nth = 0;
    int status = 0;
    bool happened = false;
} failure;

using Guard = std::lock_guard<std::recursive_mutex>;

CUstream_st *resolve(cudaStream_t stream)
{
    return stream ? stream : &default_streams[current_device];
}

/* Device memory is reachable only while device work runs. */
void open_device_memory(bool open)
{
    for (auto &[address, allocation] : allocations) {
        void *memory = reinterpret_cast<void *>(address);
        if (open)
            ASAN_UNPOISON_MEMORY_REGION(memory, allocation.bytes);
        else
            ASAN_POISON_MEMORY_REGION(memory, allocation.bytes);
    }
}

void run_one(CUstream_st *stream)
{
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (draining++ == 0) open_device_memory(true);
    device_time++;
    work();
    if (--draining == 0) open_device_memory(false);
}

void drain(CUstream_st *stream)
{
    if (stream->queue.empty()) return;
    if (draining++ == 0) open_device_memory(true);
    while (!stream->queue.empty()) run_one(stream);
    if (--draining == 0) open_device_memory(false);
}

void drain_all()
{
    drain(&default_streams[current_device]);
    for (CUstream_st *stream : streams)
        if (stream->device == current_device) drain(stream);
}

void reach(const std::shared_ptr<Record> &record)
{
    if (!record->stream) return;
    if (draining++ == 0) open_device_memory(true);
    while (record->stream) run_one(record->stream);
    if (--draining == 0) open_device_memory(false);
}

bool capturing()
{
    for (CUstream_st *stream : streams)
        if (stream->capture) return true;
    return false;
}

/* Calls that are illegal while any stream is captured end the capture. */
cudaError_t forbid_in_capture()
{
    if (!capturing()) return cudaSuccess;
    for (CUstream_st *stream : streams)
        if (stream->capture) stream->capture_broken = true;
    return cudaErrorStreamCaptureUnsupported;
}

size_t bytes_from(const void *pointer)
{
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return 0;
    const auto &[start, allocation] = *--after;
    return address < start + allocation.bytes ? start + allocation.bytes - address : 0;
}

size_t allocated_bytes()
{
    size_t total = 0;
    for (auto &[address, allocation] : allocations)
        if (allocation.device == current_device) total += allocation.bytes;
    return total;
}

/* RN_EMULATION_SWITCH names a file that a test writes while the process runs: lines of a device and the error that it has from now on. */
const char *switch_path;

struct SettingsFromEnvironment {
    SettingsFromEnvironment()
    {
        char name[64];
        long nth;
        int status;
        const char *text = getenv("RN_EMULATION_FAIL"), *count = getenv("RN_EMULATION_DEVICES");
        if (text && sscanf(text, "%63[^:]:%ld:%d", name, &nth, &status) == 3) rn_emulation_fail(name, nth, status);
        if (count) device_count = std::clamp(atoi(count), 0, max_devices);
        switch_path = getenv("RN_EMULATION_SWITCH");
        for (int device = 0; device < max_devices; device++) default_streams[device].device = device;
    }
} settings_from_environment;

void read_switch()
{
    FILE *file = switch_path ? fopen(switch_path, "r") : nullptr;
    if (!file) return;
    for (int device, status; fscanf(file, "%d %d", &device, &status) == 2;)
        if (device >= 0 && device < max_devices) sticky[device] = status;
    fclose(file);
}

} // namespace

namespace rn_emulation
{

cudaError_t enqueue(cudaStream_t handle, Work work)
{
    Guard guard(lock);
    CUstream_st *stream = resolve(handle);
    if (stream->device != current_device) return cudaErrorInvalidResourceHandle;
    if (stream->capture) {
        if (stream->capture_broken) return cudaErrorStreamCaptureInvalidated;
        stream->capture->nodes.push_back(std::move(work));
        return cudaSuccess;
    }
    if (!handle && capturing()) return forbid_in_capture();
    stream->queue.push_back(std::move(work));
    return cudaSuccess;
}

int injected_failure(const char *function)
{
    Guard guard(lock);
    read_switch();
    if (sticky[current_device]) return sticky[current_device];
    if (failure.nth <= 0 || (failure.function != "*" && failure.function != function)) return 0;
    if (--failure.nth > 0) return 0;
    failure.happened = true;
    return failure.status;
}

void require_device_range(const void *address, size_t bytes, const char *what)
{
    Guard guard(lock);
    if (bytes_from(address) < bytes) die("%s: %zu bytes at %p are not in one device allocation", what, bytes, address);
}

void count_object(int change)
{
    Guard guard(lock);
    live_objects += change;
}

void set_last_error(cudaError_t error)
{
    last_error = error;
}

} // namespace rn_emulation

using rn_emulation::count_object;
using rn_emulation::enqueue;

extern "C" {

void rn_emulation_fail(const char *function, long nth, int status)
{
    failure = {function, nth, status, false};
}
void rn_emulation_break_device(int device, int status)
{
    sticky[device] = status;
}
void rn_emulation_set_memory(size_t bytes)
{
    memory_limit = bytes;
}
void rn_emulation_set_devices(int count, int driver)
{
    device_count = count;
    driver_version = driver;
}
void rn_emulation_fail_none(void)
{
    failure = Failure();
}
int rn_emulation_failed(void)
{
    return failure.happened;
}
long rn_emulation_live_objects(void)
{
    return live_objects + static_cast<long>(allocations.size() + streams.size());
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
           : error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress"
                                              : "emulated";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : "emulated CUDA error";
}

cudaError_t cudaGetDeviceCount(int *count)
{
    RN_EMULATION_CALL(cudaError_t);
    *count = 0;
    if (driver_version < CUDART_VERSION) return cudaErrorInsufficientDriver;
    if (device_count == 0) return cudaErrorNoDevice;
    *count = device_count;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    RN_EMULATION_CALL(cudaError_t);
    if (device < 0 || device >= device_count) return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int bytes, int device)
{
    RN_EMULATION_CALL(cudaError_t);
    if (device < 0 || device >= device_count) return cudaErrorInvalidDevice;
    snprintf(text, static_cast<size_t>(bytes), "0000:%02X:00.0", device + 1);
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    RN_EMULATION_CALL(cudaError_t);
    if (device < 0 || device >= device_count) return cudaErrorInvalidDevice;
    memset(properties, 0, sizeof *properties);
    strcpy(properties->name, "emulated device");
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = 132;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->sharedMemPerBlock = 48 * 1024;
    properties->totalGlobalMem = memory_limit;
    properties->l2CacheSize = 64 * 1024;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    *pointer = nullptr;
    if (cudaError_t error = forbid_in_capture()) return error;
    if (bytes == 0) return cudaSuccess;
    if (bytes > memory_limit - allocated_bytes()) return cudaErrorMemoryAllocation;
    void *memory;
    if (posix_memalign(&memory, 256, bytes)) return cudaErrorMemoryAllocation;
    memset(memory, 0xff, bytes);
    allocations[reinterpret_cast<uintptr_t>(memory)] = {bytes, current_device};
    ASAN_POISON_MEMORY_REGION(memory, bytes);
    *pointer = memory;
    return cudaSuccess;
}

cudaError_t cudaFree(void *pointer)
{
    Guard guard(lock);
    if (!pointer) return cudaSuccess;
    if (cudaError_t error = forbid_in_capture()) return error;
    auto found = allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == allocations.end()) return cudaErrorInvalidValue;
    drain_all();
    ASAN_UNPOISON_MEMORY_REGION(pointer, found->second.bytes);
    allocations.erase(found);
    free(pointer);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    *total_bytes = memory_limit;
    *free_bytes = memory_limit - allocated_bytes();
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    RN_EMULATION_CALL(cudaError_t);
    *version = driver_version;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    RN_EMULATION_CALL(cudaError_t);
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *)
{
    RN_EMULATION_CALL(cudaError_t);
    memset(attributes, 0, sizeof *attributes);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes)
{
    RN_EMULATION_CALL(cudaError_t);
    *pointer = malloc(bytes);
    if (!*pointer) return cudaErrorMemoryAllocation;
    count_object(1);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *pointer)
{
    if (pointer) count_object(-1);
    free(pointer);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    RN_EMULATION_CALL(cudaError_t);
    {
        Guard guard(lock);
        bool to_device = bytes_from(to) >= bytes, from_device = bytes_from(from) >= bytes;
        bool want_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
        bool want_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
        if (kind == cudaMemcpyDefault || to_device != want_to || from_device != want_from) return cudaErrorInvalidValue;
    }
    return enqueue(stream, [=] { memcpy(to, from, bytes); });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    if (!error) drain(resolve(nullptr));
    return error;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    RN_EMULATION_CALL(cudaError_t);
    rn_emulation::require_device_range(to, bytes, "cudaMemsetAsync");
    return enqueue(stream, [=] { memset(to, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    *stream = new CUstream_st();
    (*stream)->device = current_device;
    streams.push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    Guard guard(lock);
    drain(stream);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    CUstream_st *stream = resolve(handle);
    if (stream->capture) return forbid_in_capture();
    drain(stream);
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    if (cudaError_t error = forbid_in_capture()) return error;
    drain_all();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int)
{
    RN_EMULATION_CALL(cudaError_t);
    *event = new CUevent_st();
    count_object(1);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t stop)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    if (start->last->stream || stop->last->stream) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(stop->last->time - start->last->time);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    Guard guard(lock);
    reach(event->last);
    count_object(-1);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    CUstream_st *stream = resolve(handle);
    if (stream->capture) return forbid_in_capture();
    auto record = std::make_shared<Record>();
    record->stream = stream;
    const cudaError_t error = enqueue(handle, [=] {
        record->stream = nullptr;
        record->time = device_time;
    });
    if (!error) event->last = record;
    return error;
}

/* Runs the recording stream one item further, so that polling makes progress. */
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    if (!event->last->stream) return cudaSuccess;
    run_one(event->last->stream);
    return event->last->stream ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    reach(event->last);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    return enqueue(stream, [record = event->last] { reach(record); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    RN_EMULATION_CALL(cudaError_t);
    Guard guard(lock);
    if (!stream || stream->capture) return cudaErrorIllegalState;
    stream->capture.reset(new CUgraph_st());
    stream->capture_broken = false;
    return cudaSuccess;
}

/* Ends the capture even when it fails. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    Guard guard(lock);
    *graph = nullptr;
    if (!stream->capture) return cudaErrorIllegalState;
    std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
    RN_EMULATION_CALL(cudaError_t);
    if (stream->capture_broken) return cudaErrorStreamCaptureInvalidated;
    *graph = captured.release();
    count_object(1);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long)
{
    RN_EMULATION_CALL(cudaError_t);
    *executable = new CUgraphExec_st{std::make_shared<std::vector<Work>>(graph->nodes)};
    count_object(1);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream)
{
    RN_EMULATION_CALL(cudaError_t);
    return enqueue(stream, [nodes = executable->nodes] {
        for (const Work &node : *nodes) node();
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (graph) count_object(-1);
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
    if (executable) count_object(-1);
    delete executable;
    return cudaSuccess;
}

} // extern "C"
