// The threads of a CUDA kernel, as the kernel's text sees them: threadIdx and its kin, __shared__,
// barriers, shuffles and votes. <scheduler.h> holds the other side, which runs the threads.
//
// `__shared__` is no macro: emulator.py rewrites its declarations to `simgpu::Shared`, because a
// macro cannot see the type that follows it.
#pragma once

#ifndef SIMGPU_SCHEDULER
#include <device.h>
#endif

// ---- what a kernel's library and the scheduler's share ------------------------------------------

namespace simgpu {

using Word = unsigned long long;

// A place in the kernel's source. `number` tells two calls on one line apart.
struct Site {
    const char *file;
    int line;
    int number;
};

struct Index {
    unsigned int x, y, z;
};

enum class Barrier : int { plain, count, all, any };
enum class Exchange : int { shuffle, ballot, sync };

// What the running thread reads; the scheduler writes it before it lets a thread run.
struct Thread {
    Index thread, block, block_dim, grid_dim;
    unsigned int lane;
    Word block_serial;  // never the same for two blocks of a process
    void *dynamic_shared;
};

// What the scheduler offers to a running thread.
struct Scheduler {
    int (*barrier)(Site, const char *name, Barrier, int predicate);
    // Wait for the lanes in `mask`, then return the `value` of lane `source` (or their votes).
    Word (*exchange)(Site, const char *name, Exchange, unsigned int mask, Word value, int source);
    // Block-wide memory of `size` bytes, full of 0xff; `memory` keeps its address.
    void (*shared)(void **memory, Word size);
    void (*fail)(Site, const char *message);
};

struct Launch {
    Index grid, block;
    Word dynamic_shared, shared_limit;
    int order;  // of threads and blocks: 0 forward, 1 reverse, 2 random
    Word seed;
    // Filled in by the kernel's library.
    void (*body)(void **);
    void **arguments;
    Thread *thread;
    // Filled in where the launch fails.
    Index failed_thread, failed_block;
    int has_thread, failed_line;
    char failed_file[256], message[768];
};

using Run = int (*)(Launch *);

}  // namespace simgpu

#ifndef SIMGPU_SCHEDULER

// ---- a thread's own view ------------------------------------------------------------------------

namespace simgpu {
static Thread self;
static const Scheduler *scheduler;
}  // namespace simgpu

#define SIMGPU_VIEW(T, name, of)                                                                 \
    [[maybe_unused]] static const T &name = reinterpret_cast<const T &>(simgpu::self.of);
SIMGPU_VIEW(uint3, threadIdx, thread)
SIMGPU_VIEW(uint3, blockIdx, block)
SIMGPU_VIEW(dim3, blockDim, block_dim)
SIMGPU_VIEW(dim3, gridDim, grid_dim)
#undef SIMGPU_VIEW
[[maybe_unused]] static constexpr int warpSize = 32;

#define SIMGPU_SITE (simgpu::Site{__FILE__, __LINE__, __COUNTER__})

// ---- shared memory ------------------------------------------------------------------------------

namespace simgpu {
// A `__shared__` variable. Taken from the heap, so that AddressSanitizer guards its ends.
template <class T>
class Shared {
    void *memory = nullptr;
    Word block_serial = 0;

public:
    T &value() {
        if (block_serial != self.block_serial) {
            scheduler->shared(&memory, sizeof(T));
            block_serial = self.block_serial;
        }
        return *static_cast<T *>(memory);
    }
};
}  // namespace simgpu

// ---- barriers -----------------------------------------------------------------------------------

#define __syncthreads()                                                                          \
    ((void)simgpu::scheduler->barrier(SIMGPU_SITE, "__syncthreads", simgpu::Barrier::plain, 0))
#define __syncthreads_count(predicate)                                                           \
    (simgpu::scheduler->barrier(SIMGPU_SITE, "__syncthreads_count", simgpu::Barrier::count,      \
                                (predicate) != 0))
#define __syncthreads_and(predicate)                                                             \
    (simgpu::scheduler->barrier(SIMGPU_SITE, "__syncthreads_and", simgpu::Barrier::all,          \
                                (predicate) != 0))
#define __syncthreads_or(predicate)                                                              \
    (simgpu::scheduler->barrier(SIMGPU_SITE, "__syncthreads_or", simgpu::Barrier::any,           \
                                (predicate) != 0))

// One host thread runs all: each thread sees every earlier write of the others at once.
SIMGPU_FN void __threadfence() {}
SIMGPU_FN void __threadfence_block() {}
SIMGPU_FN void __threadfence_system() {}
SIMGPU_FN void __nanosleep(unsigned int) {}

// ---- warps --------------------------------------------------------------------------------------

namespace simgpu {

constexpr unsigned int full_mask = 0xffffffffu;

// The source lanes of the four shuffles, in segments of `width` lanes (CUDA C Programming Guide,
// "Warp Shuffle Functions"). A lane whose source is outside its segment keeps its own value.
inline int source_idx(int lane, int source, int width) {
    return (lane & ~(width - 1)) | (source & (width - 1));
}
inline int source_up(int lane, int delta, int width) {
    return (lane & (width - 1)) < delta ? lane : lane - delta;
}
inline int source_down(int lane, int delta, int width) {
    return (lane & (width - 1)) + delta >= width ? lane : lane + delta;
}
inline int source_xor(int lane, int lane_mask, int width) {
    const int source = lane ^ lane_mask;
    return source > (lane | (width - 1)) ? lane : source;
}

template <class T>
inline T exchange(Site site, const char *name, unsigned int mask, T value, int source, int width) {
    static_assert(sizeof(T) <= sizeof(Word), "a shuffle moves at most 8 bytes");
    if (width <= 0 || width > 32 || (width & (width - 1)) != 0)
        scheduler->fail(site, "the width of a shuffle must be a power of two of at most 32");
    Word word = 0;
    __builtin_memcpy(&word, &value, sizeof(T));
    word = scheduler->exchange(site, name, Exchange::shuffle, mask, word, source);
    __builtin_memcpy(&value, &word, sizeof(T));
    return value;
}

#define SIMGPU_SHUFFLE(T)                                                                        \
    inline T shfl(Site site, unsigned int mask, T value, int source, int width = 32) {           \
        return exchange(site, "__shfl_sync", mask, value,                                        \
                        source_idx((int)self.lane, source, width), width);                       \
    }                                                                                            \
    inline T shfl_up(Site site, unsigned int mask, T value, unsigned int by, int width = 32) {   \
        return exchange(site, "__shfl_up_sync", mask, value,                                     \
                        source_up((int)self.lane, (int)by, width), width);                       \
    }                                                                                            \
    inline T shfl_down(Site site, unsigned int mask, T value, unsigned int by, int width = 32) { \
        return exchange(site, "__shfl_down_sync", mask, value,                                   \
                        source_down((int)self.lane, (int)by, width), width);                     \
    }                                                                                            \
    inline T shfl_xor(Site site, unsigned int mask, T value, int lanes, int width = 32) {        \
        return exchange(site, "__shfl_xor_sync", mask, value,                                    \
                        source_xor((int)self.lane, lanes, width), width);                        \
    }
SIMGPU_SHUFFLE(int)
SIMGPU_SHUFFLE(unsigned int)
SIMGPU_SHUFFLE(long)
SIMGPU_SHUFFLE(unsigned long)
SIMGPU_SHUFFLE(long long)
SIMGPU_SHUFFLE(unsigned long long)
SIMGPU_SHUFFLE(float)
SIMGPU_SHUFFLE(double)
#undef SIMGPU_SHUFFLE

inline unsigned int ballot(Site site, const char *name, unsigned int mask, int predicate) {
    const Word vote = predicate != 0;
    return (unsigned int)scheduler->exchange(site, name, Exchange::ballot, mask, vote, 0);
}
inline void sync_warp(Site site, unsigned int mask = full_mask) {
    scheduler->exchange(site, "__syncwarp", Exchange::sync, mask, 0, 0);
}

}  // namespace simgpu

#define __shfl_sync(...) (simgpu::shfl(SIMGPU_SITE, __VA_ARGS__))
#define __shfl_up_sync(...) (simgpu::shfl_up(SIMGPU_SITE, __VA_ARGS__))
#define __shfl_down_sync(...) (simgpu::shfl_down(SIMGPU_SITE, __VA_ARGS__))
#define __shfl_xor_sync(...) (simgpu::shfl_xor(SIMGPU_SITE, __VA_ARGS__))
#define __ballot_sync(mask, predicate)                                                           \
    (simgpu::ballot(SIMGPU_SITE, "__ballot_sync", mask, (predicate) != 0))
#define __any_sync(mask, predicate)                                                              \
    ((int)(simgpu::ballot(SIMGPU_SITE, "__any_sync", mask, (predicate) != 0) != 0))
#define __all_sync(mask, predicate)                                                              \
    ((int)(simgpu::ballot(SIMGPU_SITE, "__all_sync", mask, (predicate) == 0) == 0))
#define __syncwarp(...) (simgpu::sync_warp(SIMGPU_SITE __VA_OPT__(, ) __VA_ARGS__))

#define assert(condition)                                                                        \
    ((condition) ? (void)0                                                                       \
                 : simgpu::scheduler->fail(SIMGPU_SITE, "assertion failed: " #condition))
#define __trap() (simgpu::scheduler->fail(SIMGPU_SITE, "__trap()"))

// ---- the entry points that Python calls ---------------------------------------------------------

namespace simgpu {

template <size_t... I> struct Indices {};
template <size_t N, size_t... I> struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <size_t... I> struct MakeIndices<0, I...> { using type = Indices<I...>; };

// What an argument is, as far as a launch can check it: pointer, floating, integer or other.
template <class T> constexpr char kind_of = __is_enum(T) ? 'i' : 'o';
template <class T> constexpr char kind_of<T *> = 'p';
template <> constexpr char kind_of<float> = 'f';
template <> constexpr char kind_of<double> = 'f';
template <> constexpr char kind_of<bool> = 'i';
template <> constexpr char kind_of<char> = 'i';
template <> constexpr char kind_of<signed char> = 'i';
template <> constexpr char kind_of<unsigned char> = 'i';
template <> constexpr char kind_of<short> = 'i';
template <> constexpr char kind_of<unsigned short> = 'i';
template <> constexpr char kind_of<int> = 'i';
template <> constexpr char kind_of<unsigned int> = 'i';
template <> constexpr char kind_of<long> = 'i';
template <> constexpr char kind_of<unsigned long> = 'i';
template <> constexpr char kind_of<long long> = 'i';
template <> constexpr char kind_of<unsigned long long> = 'i';

template <class... A>
int describe(void (*)(A...), char *kinds, size_t *sizes, int capacity) {
    const char kind[] = {kind_of<A>..., 0};
    const size_t size[] = {sizeof(A)..., 0};
    for (int i = 0; i < (int)sizeof...(A) && i < capacity; ++i) {
        kinds[i] = kind[i];
        sizes[i] = size[i];
    }
    return (int)sizeof...(A);
}

template <auto kernel, class... A, size_t... I>
inline void call(void (*)(A...), [[maybe_unused]] void **arguments, Indices<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}
template <class... A>
constexpr typename MakeIndices<sizeof...(A)>::type indices_of(void (*)(A...)) {
    return {};
}
template <auto kernel>
void body(void **arguments) {
    call<kernel>(kernel, arguments, indices_of(kernel));
}

template <auto kernel>
int launch(Launch *launch, void **arguments, const Scheduler *offered, Run run) {
    scheduler = offered;
    launch->body = body<kernel>;
    launch->arguments = arguments;
    launch->thread = &self;
    return run(launch);
}

}  // namespace simgpu

// The three functions by which Python finds kernel number `n`. Overloads cannot be told apart by
// name, so a kernel that has some fails to compile here, as it fails to be found by NVRTC.
#define SIMGPU_KERNEL(n, ...)                                                                    \
    extern "C" int simgpu_describe_##n(char *kinds, size_t *sizes, int capacity) {               \
        return simgpu::describe(__VA_ARGS__, kinds, sizes, capacity);                            \
    }                                                                                            \
    extern "C" void *simgpu_address_##n() { return (void *)&(__VA_ARGS__); }                     \
    extern "C" int simgpu_launch_##n(simgpu::Launch *launch, void **arguments,                   \
                                     const simgpu::Scheduler *scheduler, simgpu::Run run) {      \
        return simgpu::launch<__VA_ARGS__>(launch, arguments, scheduler, run);                   \
    }

#endif  // SIMGPU_SCHEDULER
