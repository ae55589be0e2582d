// The threads of a CUDA kernel, as the kernel's text sees them: threadIdx and its kin, __shared__,
// barriers, shuffles and votes. <scheduler.h> holds the other side, which runs the threads.
//
// `__shared__` is no macro: compiler.py rewrites its declarations to `simgpu::Shared`, because a
// macro cannot see the type that follows it.
#pragma once
#ifndef SIMGPU_PREPROCESS
#include <initializer_list>  // NVRTC knows it without being told, and NULL
#endif
#undef NULL
#define NULL 0

#ifndef SIMGPU_SCHEDULER
#include <device.h>
#include "special.h"
#endif

// ---- what libcu++ expects of NVRTC and g++ does not have -------------------------------------------

#ifndef SIMGPU_SCHEDULER
namespace simgpu {
template <class T> T &&value_of() noexcept;
template <class T> void take(T) noexcept;
template <class From, class To, class = void> constexpr bool converts = false;
template <class From, class To>
constexpr bool converts<From, To, decltype(take<To>(value_of<From>()))> = true;
template <class T> constexpr bool is_void = false;
template <> constexpr bool is_void<void> = true;
template <> constexpr bool is_void<const void> = true;
}  // namespace simgpu
namespace __gnu_cxx {
template <class, class> class __normal_iterator;
}
#define __is_convertible_to(from, to)                                                            \
    (simgpu::is_void<to> ? simgpu::is_void<from> : simgpu::converts<from, to>)
#define __is_nothrow_destructible(...) true
SIMGPU_FN size_t __cvta_generic_to_shared(const void *p) { return (size_t)p; }
SIMGPU_FN size_t __cvta_generic_to_global(const void *p) { return (size_t)p; }
SIMGPU_FN void *__cvta_shared_to_generic(size_t p) { return (void *)p; }
SIMGPU_FN void *__cvta_global_to_generic(size_t p) { return (void *)p; }
#endif

// ---- what a kernel's library and the scheduler's share ------------------------------------------

#include "emulator_types.h"
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

#define SIMGPU_SHUFFLE(T, name, By, source_of)                                                   \
    inline T name(Site site, unsigned int mask, T value, By by, int width = 32) {                \
        return exchange(site, "__" #name "_sync", mask, value,                                   \
                        source_of((int)self.lane, (int)by, width), width);                       \
    }
#define SIMGPU_SHUFFLES(T)                                                                       \
    SIMGPU_SHUFFLE(T, shfl, int, source_idx) SIMGPU_SHUFFLE(T, shfl_up, unsigned int, source_up) \
    SIMGPU_SHUFFLE(T, shfl_down, unsigned int, source_down) SIMGPU_SHUFFLE(T, shfl_xor, int, source_xor)
SIMGPU_SHUFFLES(int) SIMGPU_SHUFFLES(unsigned int) SIMGPU_SHUFFLES(long) SIMGPU_SHUFFLES(unsigned long)
SIMGPU_SHUFFLES(long long) SIMGPU_SHUFFLES(unsigned long long) SIMGPU_SHUFFLES(float) SIMGPU_SHUFFLES(double)
#undef SIMGPU_SHUFFLES
#undef SIMGPU_SHUFFLE

inline unsigned int ballot(Site site, const char *name, unsigned int mask, int predicate) {
    const Word vote = predicate != 0;
    return (unsigned int)scheduler->exchange(site, name, Exchange::ballot, mask, vote, 0);
}
inline void sync_warp(Site site, unsigned int mask = full_mask) {
    scheduler->exchange(site, "__syncwarp", Exchange::sync, mask, 0, 0);
}
// Each lane's value in turn, for every lane in the mask.
template <class T, class F> void each_lane(Site site, const char *name, unsigned int mask, T value, F visit) {
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) visit(lane, exchange(site, name, mask, value, lane, 32));
}
template <class T> unsigned int match(Site site, unsigned int mask, T value) {
    unsigned int same = 0;
    each_lane(site, "__match_any_sync", mask, value, [&](int lane, T other) { same |= (unsigned int)(other == value) << lane; });
    return same;
}
template <class T> unsigned int match_all(Site site, unsigned int mask, T value, int *all) {
    *all = match(site, mask, value) == mask;
    return *all ? mask : 0;
}
template <class T, class F> T reduce(Site site, const char *name, unsigned int mask, T value, F join) {
    T all = value;
    each_lane(site, name, mask, value, [&](int lane, T other) {
        if (lane != (int)self.lane) all = join(all, other);
    });
    return all;
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
#define __match_any_sync(...) (simgpu::match(SIMGPU_SITE, __VA_ARGS__))
#define __match_all_sync(...) (simgpu::match_all(SIMGPU_SITE, __VA_ARGS__))
#define SIMGPU_REDUCE(name, ...)                                                                 \
    simgpu::reduce(SIMGPU_SITE, "__reduce_" #name "_sync", __VA_ARGS__)
#define __reduce_add_sync(...) (SIMGPU_REDUCE(add, __VA_ARGS__, [](auto a, auto b) { return a + b; }))
#define __reduce_min_sync(...) (SIMGPU_REDUCE(min, __VA_ARGS__, [](auto a, auto b) { return b < a ? b : a; }))
#define __reduce_max_sync(...) (SIMGPU_REDUCE(max, __VA_ARGS__, [](auto a, auto b) { return a < b ? b : a; }))
#define __reduce_and_sync(...) (SIMGPU_REDUCE(and, __VA_ARGS__, [](auto a, auto b) { return a & b; }))
#define __reduce_or_sync(...) (SIMGPU_REDUCE(or, __VA_ARGS__, [](auto a, auto b) { return a | b; }))
#define __reduce_xor_sync(...) (SIMGPU_REDUCE(xor, __VA_ARGS__, [](auto a, auto b) { return a ^ b; }))
#define __activemask() (1u << simgpu::self.lane)  // no two threads are promised to go together
#define __syncwarp(...) (simgpu::sync_warp(SIMGPU_SITE __VA_OPT__(, ) __VA_ARGS__))

#define assert(condition)                                                                        \
    ((condition) ? (void)0                                                                       \
                 : simgpu::scheduler->fail(SIMGPU_SITE, "assertion failed: " #condition))
#define __trap() (simgpu::scheduler->fail(SIMGPU_SITE, "__trap()"))

namespace simgpu {
template <class T> const T &read(const T &x) { return x; }
template <class T> T read(const T &&x) { return x; }  // of an array without axes CuPy gives a value
inline bool read(const bool &x) { return reinterpret_cast<const unsigned char &>(x) != 0; }
}  // namespace simgpu

// ---- the entry points that Python calls ---------------------------------------------------------

namespace simgpu {

template <size_t... I> struct Indices {};

// What an argument is, as far as a launch can check it: pointer, floating, integer or other.
template <class T, class = void> constexpr char kind_of = __is_enum(T) ? 'i' : 'o';
template <class T> constexpr char kind_of<T, decltype((void)(T() % 1))> = __is_class(T) ? 'o' : 'i';
template <class T> constexpr char kind_of<T *> = 'p';
template <> constexpr char kind_of<float> = 'f';
template <> constexpr char kind_of<double> = 'f';

template <auto kernel, class... A, size_t... I>
inline void call(void (*)(A...), [[maybe_unused]] void **arguments, Indices<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}
template <class... A> constexpr Indices<__integer_pack(sizeof...(A))...> indices_of(void (*)(A...)) { return {}; }
template <auto kernel>
void body(void **arguments) {
    call<kernel>(kernel, arguments, indices_of(kernel));
}

// A kernel whose threads never wait for each other: a loop, without a fiber for each thread.
inline Word common_divisor(Word a, Word b) {
    while (b != 0) {
        const Word rest = a % b;
        a = b, b = rest;
    }
    return a;
}
struct Order {  // of the numbers below `count`
    Word first = 0, step = 1, count;
    Order(const Launch *launch, Word count) : count(count) {
        if (launch->order == 1) first = step = count - 1;
        if (launch->order != 2) return;
        const Word mixed = (launch->seed + 1) * 0x9e3779b97f4a7c15ull;
        first = mixed % count;
        step = 1 + (mixed >> 20) % count;
        while (common_divisor(step, count) != 1) ++step;  // so that each number comes once
    }
    Word operator[](Word i) const { return (Word)((first + (unsigned __int128)i * step) % count); }
};
template <auto kernel, class... A, size_t... I>
inline void run_plain(Launch *launch, void (*)(A...), [[maybe_unused]] void **arguments, Indices<I...>) {
    const Index g = launch->grid, b = launch->block;
    self.block_dim = b;
    self.grid_dim = g;
    if (launch->order != 0) {
        const Order blocks(launch, (Word)g.x * g.y * g.z), threads(launch, (Word)b.x * b.y * b.z);
        for (Word i = 0; i < blocks.count; ++i)
            for (Word j = 0; j < threads.count; ++j) {
                self.block = place(blocks[i], g);
                self.thread = place(threads[j], b);
                self.lane = (unsigned int)threads[j] % 32;
                kernel(*static_cast<A *>(arguments[I])...);
            }
        return;
    }
    for (self.block.z = 0; self.block.z < g.z; ++self.block.z)
    for (self.block.y = 0; self.block.y < g.y; ++self.block.y)
    for (self.block.x = 0; self.block.x < g.x; ++self.block.x) {
        unsigned int number = 0;
        for (self.thread.z = 0; self.thread.z < b.z; ++self.thread.z)
        for (self.thread.y = 0; self.thread.y < b.y; ++self.thread.y)
        for (self.thread.x = 0; self.thread.x < b.x; ++self.thread.x) {
            self.lane = number++ % 32;
            kernel(*static_cast<A *>(arguments[I])...);
        }
    }
}
template <auto kernel>
int launch_plain(Launch *launch, void **arguments, const Scheduler *offered, Run) {
    scheduler = offered;
    launch->thread = &self;
    run_plain<kernel>(launch, kernel, arguments, indices_of(kernel));
    return 0;
}

// CuPy's loop over elements, written as one plain loop, is one call: nothing in it knows its thread.
template <auto kernel>
int launch_loop(Launch *launch, void **arguments, const Scheduler *offered, Run) {
    scheduler = offered;
    launch->thread = &self;
    self.block = self.thread = {0, 0, 0};
    self.block_dim = launch->block;
    self.grid_dim = launch->grid;
    body<kernel>(arguments);
    return 0;
}

template <auto kernel>
int launch(Launch *launch, void **arguments, const Scheduler *offered, Run run) {
    scheduler = offered;
    launch->body = body<kernel>;
    launch->arguments = arguments;
    launch->thread = &self;
    return run(launch);
}

template <class... A> struct Table {
    static constexpr Parameter of[] = {{kind_of<A>, sizeof(A)}..., {0, 0}};
};
template <class... A> constexpr const Parameter *parameters_of(void (*)(A...)) { return Table<A...>::of; }
template <class... A> constexpr unsigned count_of(void (*)(A...)) { return sizeof...(A); }

}  // namespace simgpu

#define SIMGPU_ENTRY(name, threads, flags, how, ...)                                              \
    {(void *)&(__VA_ARGS__), name, simgpu::parameters_of(__VA_ARGS__),                            \
     simgpu::count_of(__VA_ARGS__), threads, flags, simgpu::how<__VA_ARGS__>},

#endif  // SIMGPU_SCHEDULER
