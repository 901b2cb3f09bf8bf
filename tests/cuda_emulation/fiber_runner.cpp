/* Runs the threads of a block as fibers.
 *
 * Why fibers: a barrier in the middle of a kernel needs every thread's stack to
 * survive while the others catch up. OS threads would do, but 1024 of them per
 * block are slow and not repeatable; fibers switch in nanoseconds and run in an
 * order that the test chooses.
 *
 * How: a block's threads are started in order. Each takes an idle fiber and
 * runs until it finishes (the fiber is idle again, so a kernel without barriers
 * uses one stack) or waits in a collective. A collective completes when the
 * last expected thread arrives; that thread computes everybody's result and
 * goes on without switching. When nothing can run and threads still wait, the
 * kernel has diverged, and the report names who waits where.
 *
 * Stricter than hardware on purpose: a thread that has exited counts as missing
 * from __syncthreads and from every warp mask that names it, all threads of a
 * block must be in the same __syncthreads statement, and every lane of a warp
 * collective must be at the same statement with the same mask.
 */
#include "cuda_emulation.h"
#include "emulation_control.h"
#include "emulation_internal.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#ifdef RN_EMULATION_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#define RN_FIBER_UCONTEXT 1
#endif
#ifdef RN_FIBER_UCONTEXT
#include <ucontext.h>
#endif

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

/* Defined by the linker if any kernel has static shared memory. */
extern "C" unsigned char __start_rn_shared[] __attribute__((weak));
extern "C" unsigned char __stop_rn_shared[] __attribute__((weak));

namespace rn_emulation
{
namespace
{

constexpr size_t stack_bytes = 256 * 1024;
constexpr unsigned char junk = 0xff; /* a NaN in f16, bf16 and f32 */

enum class State { fresh, running, ready, waiting, done };

struct Fiber;

struct Thread {
    uint3 index;
    unsigned rank;
    State state;
    Fiber *fiber;
    /* What it waits in. */
    Collective kind;
    Site site;
    unsigned mask;
    unsigned argument;
    int width;
    uint64_t value; /* given to the collective, then received from it */
};

/* A stack that runs threads one after another, for ever. */
struct Fiber {
#ifdef RN_FIBER_UCONTEXT
    ucontext_t context;
#else
    void *stack_pointer;
#endif
    char *stack;
    Thread *thread;
    void *fake_stack;
};

struct Grid {
    const char *name;
    const Kernel *kernel;
    unsigned char *dynamic_shared;
    std::vector<Thread> threads;
    std::vector<unsigned> order;
    unsigned done;
    unsigned at_barrier;
    int barrier_count;
};

Grid *grid;
Thread *current;
/* Never destroyed: fibers live as long as the process. */
std::vector<Fiber *> &idle_fibers = *new std::vector<Fiber *>;
std::mutex device; /* one kernel at a time, whatever thread synchronises */
unsigned thread_order;
const char *disabled_kernel;
long launches;

#ifdef RN_FIBER_UCONTEXT

ucontext_t scheduler_context;

void switch_to(Fiber *fiber)
{
    swapcontext(&scheduler_context, &fiber->context);
}
void switch_back(Fiber *fiber)
{
    swapcontext(&fiber->context, &scheduler_context);
}

void prepare(Fiber *fiber, void (*entry)())
{
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = stack_bytes;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, entry, 0);
}

#else

/* Saves the callee-saved registers on the current stack, stores its pointer,
 * continues on the other stack. ucontext does the same with two system calls
 * per switch. */
extern "C" void rn_switch_stack(void **save, void *load);
asm(R"(
    .text
    .globl rn_switch_stack
    .type rn_switch_stack, @function
rn_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size rn_switch_stack, .-rn_switch_stack
)");

void *scheduler_stack_pointer;

void switch_to(Fiber *fiber)
{
    rn_switch_stack(&scheduler_stack_pointer, fiber->stack_pointer);
}
void switch_back(Fiber *fiber)
{
    rn_switch_stack(&fiber->stack_pointer, scheduler_stack_pointer);
}

void prepare(Fiber *fiber, void (*entry)())
{
    /* From the top: a null return address for the entry, the entry as
     * rn_switch_stack's return address (at a multiple of 16, so that the entry
     * sees the stack alignment of a called function), six registers. */
    void **top = reinterpret_cast<void **>(fiber->stack + stack_bytes);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber->stack_pointer = top;
}

#endif

#ifdef RN_EMULATION_ASAN
void *scheduler_fake_stack;
const void *scheduler_stack;
size_t scheduler_stack_bytes;
#endif

void resume(Thread *thread)
{
    current = thread;
    threadIdx = thread->index;
    thread->state = State::running;
#ifdef RN_EMULATION_ASAN
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, thread->fiber->stack, stack_bytes);
#endif
    switch_to(thread->fiber);
#ifdef RN_EMULATION_ASAN
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

void suspend(Fiber *fiber)
{
#ifdef RN_EMULATION_ASAN
    __sanitizer_start_switch_fiber(&fiber->fake_stack, scheduler_stack, scheduler_stack_bytes);
#endif
    switch_back(fiber);
#ifdef RN_EMULATION_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void fiber_main()
{
#ifdef RN_EMULATION_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
    Fiber *fiber = current->fiber;
    for (;;) {
        (*grid->kernel)();
        fiber->thread->state = State::done;
        grid->done++;
        suspend(fiber);
    }
}

Fiber *new_fiber()
{
    size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void *memory = mmap(nullptr, guard + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) != 0) die("no memory for a fiber");
    Fiber *fiber = new Fiber();
    fiber->stack = static_cast<char *>(memory) + guard;
    prepare(fiber, fiber_main);
    return fiber;
}

const char *state_text(const Thread &thread)
{
    if (thread.state == State::done) return "have exited";
    if (thread.state != State::waiting) return "run";
    switch (thread.kind) {
    case Collective::block_barrier:
        return "wait in __syncthreads";
    case Collective::warp_barrier:
        return "wait in __syncwarp";
    case Collective::ballot:
        return "wait in a vote";
    default:
        return "wait in a shuffle";
    }
}

/* Runs of neighbouring threads in the same situation, one line each. */
[[noreturn]] void diverged(const char *why)
{
    std::string report;
    const std::vector<Thread> &threads = grid->threads;
    for (size_t first = 0; first < threads.size();) {
        const Thread &a = threads[first];
        size_t last = first;
        while (last + 1 < threads.size()) {
            const Thread &b = threads[last + 1];
            bool same = a.state == b.state;
            if (a.state == State::waiting) same = same && a.kind == b.kind && a.mask == b.mask && a.site.line == b.site.line;
            if (!same) break;
            last++;
        }
        char line[256];
        if (a.state == State::waiting)
            snprintf(line, sizeof line, "\n  threads %zu-%zu %s at %s:%d, mask %08x", first, last, state_text(a), a.site.file, a.site.line,
                     a.mask);
        else
            snprintf(line, sizeof line, "\n  threads %zu-%zu %s", first, last, state_text(a));
        report += line;
        first = last + 1;
    }
    die("kernel %s, block (%u,%u,%u): %s%s", grid->name, blockIdx.x, blockIdx.y, blockIdx.z, why, report.c_str());
}

void wait()
{
    Thread *self = current;
    self->state = State::waiting;
    suspend(self->fiber);
}

/* Which lane's value a shuffle delivers; PTX "shfl" with the clamp that the
 * CUDA functions use. Out of the segment means the lane's own value. */
unsigned source_lane(const Thread &thread)
{
    unsigned lane = thread.rank % 32, width = static_cast<unsigned>(thread.width);
    unsigned base = lane & ~(width - 1), end = base + width;
    unsigned source = lane;
    switch (thread.kind) {
    case Collective::shuffle_index:
        source = base + (thread.argument & (width - 1));
        break;
    case Collective::shuffle_up:
        source = lane >= base + thread.argument ? lane - thread.argument : lane;
        break;
    case Collective::shuffle_down:
        source = lane + thread.argument < end ? lane + thread.argument : lane;
        break;
    case Collective::shuffle_xor:
        source = (lane ^ thread.argument) < end ? lane ^ thread.argument : lane;
        break;
    default:
        break;
    }
    return source;
}

void complete_warp(Thread *warp, unsigned mask)
{
    uint64_t given[32] = {};
    uint64_t votes = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        given[lane] = warp[lane].value;
        votes |= (warp[lane].value & 1) << lane;
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        Thread &thread = warp[lane];
        if (thread.kind == Collective::ballot) {
            thread.value = votes;
        } else if (thread.kind != Collective::warp_barrier) {
            unsigned source = source_lane(thread);
            if (!(mask >> source & 1)) diverged("a shuffle reads a lane that is not in its mask");
            thread.value = given[source];
        }
        if (thread.state == State::waiting) thread.state = State::ready;
    }
}

void __attribute__((no_sanitize("address"))) fill_static_shared()
{
    volatile unsigned char *byte = __start_rn_shared;
    if (!byte) return;
    for (; byte != __stop_rn_shared; byte++) *byte = junk;
}

/* Runs a thread until it waits or ends. Whether it could run at all. */
bool advance(Thread *thread)
{
    if (thread->state == State::fresh) {
        if (idle_fibers.empty()) idle_fibers.push_back(new_fiber());
        thread->fiber = idle_fibers.back();
        thread->fiber->thread = thread;
        idle_fibers.pop_back();
    } else if (thread->state != State::ready) {
        return false;
    }
    resume(thread);
    if (thread->state == State::done) idle_fibers.push_back(thread->fiber);
    return true;
}

void run_block(size_t shared_bytes)
{
    fill_static_shared();
    if (shared_bytes) std::memset(grid->dynamic_shared, junk, shared_bytes);
    for (Thread &thread : grid->threads) thread.state = State::fresh;
    grid->done = 0;
    grid->at_barrier = 0;
    grid->barrier_count = 0;
    while (grid->done < grid->threads.size()) {
        bool progress = false;
        for (size_t i = 0; i < grid->order.size(); i++) {
            if (!advance(&grid->threads[grid->order[i]])) continue;
            progress = true;
            if (thread_order == RN_ORDER_WARPS) i = i / 32 * 32 - 1; /* once more from the warp's first lane */
        }
        if (!progress) diverged("divergent barrier, nothing can run");
    }
}

std::vector<unsigned> make_order(size_t count)
{
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0u);
    if (thread_order == RN_ORDER_REVERSE) std::reverse(order.begin(), order.end());
    if (thread_order >= RN_ORDER_SHUFFLED) {
        std::minstd_rand random(thread_order);
        std::shuffle(order.begin(), order.end(), random);
    }
    return order;
}

const char *launch_problem(dim3 grid_size, dim3 block, size_t shared_bytes)
{
    uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64) return "block size";
    if (grid_size.x == 0 || grid_size.y == 0 || grid_size.z == 0 || grid_size.x > 2147483647u || grid_size.y > 65535 || grid_size.z > 65535)
        return "grid size";
    if (shared_bytes > 48 * 1024) return "dynamic shared memory over 48 KiB";
    return nullptr;
}

struct OrderFromEnvironment {
    OrderFromEnvironment()
    {
        const char *text = getenv("RN_EMULATION_ORDER");
        if (text) thread_order = static_cast<unsigned>(atoi(text));
    }
} order_from_environment;

} // namespace

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("emulation: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

int block_collective(int predicate, Site site)
{
    Thread *self = current;
    self->kind = Collective::block_barrier;
    self->site = site;
    self->mask = 0;
    grid->barrier_count = grid->at_barrier ? grid->barrier_count : 0;
    grid->barrier_count += predicate != 0;
    if (++grid->at_barrier < grid->threads.size()) {
        wait();
        return static_cast<int>(self->value);
    }
    grid->at_barrier = 0;
    for (Thread &thread : grid->threads) {
        if (&thread != self && (thread.site.line != site.line || strcmp(thread.site.file, site.file)))
            diverged("threads are in different __syncthreads statements");
        thread.value = static_cast<uint64_t>(grid->barrier_count);
        if (&thread != self) thread.state = State::ready;
    }
    return grid->barrier_count;
}

uint64_t warp_collective(Collective kind, unsigned mask, uint64_t value, unsigned argument, int width, Site site)
{
    Thread *self = current;
    unsigned lane = self->rank % 32;
    Thread *warp = &grid->threads[self->rank - lane];
    size_t lanes = std::min<size_t>(32, grid->threads.size() - (self->rank - lane));
    *self = Thread{self->index, self->rank, self->state, self->fiber, kind, site, mask, argument, width, value};
    if (!(mask >> lane & 1)) diverged("a lane is not in its own mask");
    if (lanes < 32 && mask >> lanes) diverged("a mask names lanes beyond the block");
    for (unsigned other = 0; other < lanes; other++) {
        const Thread &thread = warp[other];
        if (&thread == self || !(mask >> other & 1)) continue;
        if (thread.state != State::waiting) {
            wait();
            return self->value;
        }
        if (thread.kind != kind || thread.mask != mask || thread.site.line != site.line || strcmp(thread.site.file, site.file)) {
            wait();
            return self->value;
        }
    }
    complete_warp(warp, mask);
    return self->value;
}

void misaligned(const void *address, size_t alignment)
{
    die("kernel %s, block (%u,%u,%u), thread %u: access at %p is not aligned to %zu bytes", grid->name, blockIdx.x, blockIdx.y, blockIdx.z,
        current->rank, address, alignment);
}

void *dynamic_shared()
{
    return grid->dynamic_shared;
}

void run_grid(const char *name, const Kernel &kernel, dim3 grid_size, dim3 block, size_t shared_bytes)
{
    std::lock_guard<std::mutex> lock(device);
    /* Exactly as large as the launch says, so that AddressSanitizer sees the
     * first byte beyond. */
    std::unique_ptr<unsigned char[]> shared(new unsigned char[shared_bytes]);
    Grid running{name, &kernel, shared.get(), {}, {}, 0, 0, 0};
    running.threads.resize(static_cast<size_t>(block.x) * block.y * block.z);
    for (unsigned rank = 0; rank < running.threads.size(); rank++) {
        Thread &thread = running.threads[rank];
        thread.rank = rank;
        thread.index = {rank % block.x, rank / block.x % block.y, rank / block.x / block.y};
    }
    running.order = make_order(running.threads.size());
    grid = &running;
    gridDim = grid_size;
    blockDim = block;
    size_t blocks = static_cast<size_t>(grid_size.x) * grid_size.y * grid_size.z;
    for (unsigned i : make_order(blocks)) {
        blockIdx = {i % grid_size.x, i / grid_size.x % grid_size.y, i / grid_size.x / grid_size.y};
        run_block(shared_bytes);
    }
    grid = nullptr;
    launches++;
}

void launch_kernel(const char *name, Kernel kernel, dim3 grid_size, dim3 block, size_t shared_bytes, cudaStream_t stream)
{
    int injected = injected_failure(name);
    if (injected) {
        set_last_error(static_cast<cudaError_t>(injected));
        return;
    }
    const char *problem = launch_problem(grid_size, block, shared_bytes);
    if (problem) {
        fprintf(stderr, "emulation: launch of %s refused: %s\n", name, problem);
        set_last_error(cudaErrorInvalidConfiguration);
        return;
    }
    if (disabled_kernel && strcmp(name, disabled_kernel) == 0) return;
    cudaError_t error = enqueue(stream, [=] { run_grid(name, kernel, grid_size, block, shared_bytes); });
    if (error) set_last_error(error);
}

} // namespace rn_emulation

void rn_emulation_set_order(unsigned order)
{
    rn_emulation::thread_order = order;
}
void rn_emulation_disable_kernel(const char *name)
{
    rn_emulation::disabled_kernel = name;
}
long rn_emulation_launches(void)
{
    return rn_emulation::launches;
}
