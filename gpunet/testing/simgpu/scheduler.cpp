// Runs the threads of a kernel, one block after another, each thread a fiber of one host thread.
//
// The order is greedy: a warp runs until all its threads wait at a block barrier or have returned,
// then the next warp runs. So one warp is ahead of the others by as much as the barriers allow,
// which is what makes a missing write-after-read barrier visible; warps in lock step hide it.
// Inside a warp, too, a lane runs until it must wait for the others.
//
// A fiber is entered once with ucontext; afterwards _setjmp and _longjmp switch stacks without a
// system call. Fibers and their stacks are kept for later launches. A thread that fails is simply
// never resumed: the next launch starts its fiber from the top again.
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include "emulator_types.h"

namespace simgpu {
namespace {

constexpr unsigned int max_threads = 1024, warp_size = 32;
constexpr size_t page = 65536;  // a multiple of the page size of every Linux
#ifdef __SANITIZE_ADDRESS__
constexpr size_t stack_size = 4 * page;
constexpr size_t static_canary = 0, dynamic_canary = 0;  // the sanitizer guards shared memory
#else
constexpr size_t stack_size = 2 * page;
// A forgotten `shared_mem=` writes as much as one number a thread past the end.
constexpr size_t static_canary = 1024, dynamic_canary = max_threads * 16;
#endif

// ---- fibers -------------------------------------------------------------------------------------

enum class State { ready, at_barrier, in_exchange, returned };

// The call that a thread waits in.
struct Call {
    Site site;
    const char *name;
    Barrier barrier;
    Exchange exchange;
    unsigned int mask;
    Word value;
    int source;
    Word result;

    bool same_as(const Call &other) const {
        return site.number == other.site.number && site.line == other.site.line &&
               strcmp(site.file, other.site.file) == 0;
    }
};

struct Fiber {
    State state;
    bool entered = false;  // the stack has a first frame, `top`, to start from
    bool running = false;  // `here` is where it waits
    char *stack = nullptr;
    jmp_buf top, here;
    Index thread;
    unsigned int lane;
    Call call;
};

std::deque<Fiber> pool(max_threads);  // all there are: kept for later launches
Fiber *current;
Launch *launch;
bool failed;
jmp_buf home;  // the scheduler's own place

#ifdef __SANITIZE_ADDRESS__
const void *home_stack;
size_t home_stack_size;
void to_fiber(Fiber &f) { __sanitizer_start_switch_fiber(nullptr, f.stack, stack_size); }
void to_home() { __sanitizer_start_switch_fiber(nullptr, home_stack, home_stack_size); }
void at_fiber() { __sanitizer_finish_switch_fiber(nullptr, &home_stack, &home_stack_size); }
void at_home() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }
void forget_frames(Fiber &f) { __asan_unpoison_memory_region(f.stack, stack_size); }
#else
void to_fiber(Fiber &) {}
void to_home() {}
void at_fiber() {}
void at_home() {}
void forget_frames(Fiber &) {}
#endif

void go_home() {
    to_home();
    _longjmp(home, 1);
}

// The bottom frame of every fiber: each longjmp to `top` runs the kernel's body once.
void fiber_main() {
    _setjmp(current->top);
    at_fiber();
    launch->body(launch->arguments);
    current->state = State::returned;
    current->running = false;
    go_home();
}

// Let the current thread wait, in the state it has set itself.
void wait() {
    if (_setjmp(current->here) == 0) go_home();
    at_fiber();
}

bool make_stack(Fiber &fiber, bool guarded) {
    // A guard page below each stack turns an overflow into a fault instead of silent damage. Tens of
    // thousands of threads do without: Linux has no more than 65,530 ranges of pages for a process.
    void *memory = mmap(nullptr, stack_size + page, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    fiber.stack = static_cast<char *>(memory) + page;
    if (!guarded) return mprotect(memory, stack_size + page, PROT_READ | PROT_WRITE) == 0;
    return mprotect(fiber.stack, stack_size, PROT_READ | PROT_WRITE) == 0;
}

void enter(Fiber &fiber) {
    static ucontext_t context;
    fiber.entered = true;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack;
    context.uc_stack.ss_size = stack_size;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
}

// Run a thread until it waits, returns or fails.
void resume(Fiber &fiber) {
    current = &fiber;
    launch->thread->thread = fiber.thread;
    launch->thread->lane = fiber.lane;
    if (_setjmp(home) == 0) {
        to_fiber(fiber);
        if (fiber.running) _longjmp(fiber.here, 1);
        fiber.running = true;
        if (fiber.entered) _longjmp(fiber.top, 1);
        enter(fiber);
    }
    at_home();
}

// ---- failures -----------------------------------------------------------------------------------

void describe_failure(const Site &site, const char *format, ...) {
    if (failed) return;
    failed = true;
    launch->failed_block = launch->thread->block;
    launch->failed_line = site.line;
    snprintf(launch->failed_file, sizeof launch->failed_file, "%s", site.file);
    va_list values;
    va_start(values, format);
    vsnprintf(launch->message, sizeof launch->message, format, values);
    va_end(values);
}

#define SIMGPU_FAIL(fiber, ...)                                                                  \
    do {                                                                                         \
        launch->failed_thread = (fiber).thread;                                                  \
        launch->has_thread = 1;                                                                  \
        describe_failure((fiber).call.site, __VA_ARGS__);                                        \
    } while (0)

struct Text {
    char characters[96];
};

Text name_of(const Index &thread) {
    Text text;
    snprintf(text.characters, sizeof text.characters, "thread (%u, %u, %u)", thread.x, thread.y,
             thread.z);
    return text;
}

// ---- shared memory ------------------------------------------------------------------------------

// Shared memory that a block has touched. Each piece ends in a canary, to tell a write past its
// end without a sanitizer.
struct Piece {
    unsigned char *memory;
    size_t size, canary;
};
// A block of threads: alone on the device, or in a cooperative launch together with all others.
struct Block {
    Index index;
    Word serial;
    std::vector<Fiber *> fibers;
    std::vector<Piece> pieces;
    std::map<void **, void *> shared;  // by what a kernel's `__shared__` variables keep
    void *dynamic;
    bool waits;  // has threads that have not returned
};
Block *block;  // the one that runs

void *allocate_shared(size_t size) {
    void *memory = nullptr;
    if (posix_memalign(&memory, 256, size != 0 ? size : 1) != 0) abort();
    return memory;
}

void poison(void *memory, size_t size, size_t canary) {
    memset(memory, 0xff, size + canary);
    block->pieces.push_back({static_cast<unsigned char *>(memory), size, canary});
}

bool intact(const Piece &piece) {
    const unsigned char *canary = piece.memory + piece.size;
    return piece.canary == 0 ||
           (canary[0] == 0xff && memcmp(canary, canary + 1, piece.canary - 1) == 0);
}

const char *overrun() {
    for (const Piece &piece : block->pieces)
        if (!intact(piece))
            return &piece == &block->pieces[0] ? "a thread wrote past the end of dynamic shared memory "
                                          "(as large as the launch's shared_mem)"
                                        : "a thread wrote past the end of a __shared__ variable";
    return nullptr;
}

void fail(Site site, const char *message) {
    current->call.site = site;
    SIMGPU_FAIL(*current, "%s", message);
    go_home();
}

void shared(void **memory, Word size) {
    void *&own = block->shared[memory];
    const bool known = own != nullptr;
    if (!known) own = allocate_shared(size + static_canary);
    *memory = own;
    if (known) return;
    poison(own, size, static_canary);
    size_t total = 0;
    for (const Piece &piece : block->pieces) total += piece.size;
    if (total <= launch->shared_limit) return;
    current->call.site = {"", 0, 0};
    SIMGPU_FAIL(*current, "the block uses %zu bytes of shared memory, the limit is %llu", total,
                launch->shared_limit);
    go_home();
}

// ---- barriers -----------------------------------------------------------------------------------

unsigned int threads_of(const Index &size) { return size.x * size.y * size.z; }

int barrier(Site site, const char *name, Barrier kind, int predicate) {
    Call &call = current->call;
    call = {site, name, kind, Exchange::sync, 0, (Word)(predicate != 0), 0, 0};
    current->state = State::at_barrier;
    wait();
    return (int)current->call.result;
}

// All threads wait or have returned: open the barrier, or say why it cannot open.
void open_barrier(unsigned int count) {
    const std::vector<Fiber *> &fibers = block->fibers;
    Fiber *waiting = nullptr;
    for (unsigned int t = 0; t < count && waiting == nullptr; ++t)
        if (fibers[t]->state == State::at_barrier) waiting = fibers[t];
    const Call &call = waiting->call;
    Word votes = 0;
    for (unsigned int t = 0; t < count; ++t) {
        const Fiber &fiber = *fibers[t];
        if (fiber.state == State::returned && launch->lenient) continue;  // as GPUs do
        if (fiber.state == State::returned) {
            SIMGPU_FAIL(*waiting, "divergent %s: %s has returned without reaching it", call.name,
                        name_of(fiber.thread).characters);
            return;
        }
        if (!launch->lenient && !fiber.call.same_as(call)) {
            const Site &other = fiber.call.site;
            SIMGPU_FAIL(*waiting, "divergent %s: %s waits at another one, %s:%d%s", call.name,
                        name_of(fiber.thread).characters, other.file, other.line,
                        other.line == call.site.line ? " (on the same line)" : "");
            return;
        }
        votes += fiber.call.value;
    }
    const Word result = call.barrier == Barrier::all   ? votes == count
                        : call.barrier == Barrier::any ? votes != 0
                                                       : votes;
    for (unsigned int t = 0; t < count; ++t) {
        if (fibers[t]->state == State::returned) continue;
        fibers[t]->call.result = result;
        fibers[t]->state = State::ready;
    }
}

// ---- warps --------------------------------------------------------------------------------------

struct Warp {
    Fiber *const *lanes;
    unsigned int count;  // fewer than 32 in the last warp of an odd block
};

Word exchange(Site site, const char *name, Exchange kind, unsigned int mask, Word value,
              int source) {
    const unsigned int lane = launch->thread->lane;
    Call &call = current->call;
    call = {site, name, Barrier::plain, kind, mask, value, source, 0};
    if ((mask >> lane & 1) == 0) {
        SIMGPU_FAIL(*current, "%s: lane %u calls it with a mask (0x%08x) that leaves it out", name,
                    lane, mask);
        go_home();
    }
    if (kind == Exchange::shuffle && (mask >> source & 1) == 0) {
        SIMGPU_FAIL(*current, "%s: lane %u reads lane %d, which the mask (0x%08x) leaves out", name,
                    lane, source, mask);
        go_home();
    }
    current->state = State::in_exchange;
    wait();
    return current->call.result;
}

// Whether `lane` is ready for the exchange that `call` wants with it.
bool takes_part(const Warp &warp, unsigned int lane, const Call &call) {
    if (lane >= warp.count || warp.lanes[lane]->state != State::in_exchange) return false;
    const Call &other = warp.lanes[lane]->call;
    return other.same_as(call) && other.mask == call.mask;
}

bool complete(const Warp &warp, const Call &call) {
    for (unsigned int lane = 0; lane < warp_size; ++lane)
        if ((call.mask >> lane & 1) != 0 && !takes_part(warp, lane, call)) return false;
    return true;
}

void finish_exchange(const Warp &warp, const Call &call) {
    const unsigned int mask = call.mask;
    unsigned int votes = 0;
    for (unsigned int lane = 0; lane < warp.count; ++lane)
        if ((mask >> lane & 1) != 0 && warp.lanes[lane]->call.value != 0) votes |= 1u << lane;
    for (unsigned int lane = 0; lane < warp.count; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        Call &own = warp.lanes[lane]->call;
        own.result = own.exchange == Exchange::shuffle ? warp.lanes[own.source]->call.value : votes;
        warp.lanes[lane]->state = State::ready;
    }
}

// Wake the threads whose exchange is complete. Returns whether there were any.
bool finish_exchanges(const Warp &warp) {
    bool any = false;
    for (unsigned int lane = 0; lane < warp.count; ++lane) {
        const Fiber &fiber = *warp.lanes[lane];
        if (fiber.state != State::in_exchange || !complete(warp, fiber.call)) continue;
        finish_exchange(warp, Call(fiber.call));
        any = true;
    }
    return any;
}

// Nobody in the warp can go on, and `fiber` waits for lanes that will not come: say which and why.
void explain_stuck(const Warp &warp, const Fiber &fiber) {
    const Call &call = fiber.call;
    unsigned int lane = 0;
    while ((call.mask >> lane & 1) == 0 || takes_part(warp, lane, call)) ++lane;
    if (lane >= warp.count) {
        SIMGPU_FAIL(fiber, "%s: the mask 0x%08x names lane %u, but this warp has only %u threads",
                    call.name, call.mask, lane, warp.count);
        return;
    }
    const Fiber &other = *warp.lanes[lane];
    const Text name = name_of(other.thread);
    const char *text = name.characters;
    if (other.state == State::returned)
        SIMGPU_FAIL(fiber, "%s: the mask 0x%08x names lane %u, but %s has returned", call.name,
                    call.mask, lane, text);
    else if (other.call.same_as(call))
        SIMGPU_FAIL(fiber, "%s: the mask is 0x%08x, but %s calls it with 0x%08x", call.name,
                    call.mask, text, other.call.mask);
    else
        SIMGPU_FAIL(fiber, "%s: the mask 0x%08x names lane %u, but %s waits at %s, %s:%d",
                    call.name, call.mask, lane, text, other.call.name, other.call.site.file,
                    other.call.site.line);
}

// ---- order --------------------------------------------------------------------------------------

Word random_state;

// Splitmix64 (Steele, Lea & Flood 2014).
Word random_word() {
    Word x = random_state += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// The numbers below `count` in the launch's order.
void put_in_order(std::vector<Word> &order, Word count) {
    order.resize(count);
    for (Word i = 0; i < count; ++i) order[i] = launch->order == 1 ? count - 1 - i : i;
    if (launch->order != 2) return;
    for (Word i = count; i > 1; --i) std::swap(order[i - 1], order[random_word() % i]);
}

// ---- a block, a launch --------------------------------------------------------------------------

void run_warp(const Warp &warp, const std::vector<Word> &lanes) {
    do {
        for (const Word lane : lanes) {
            if (lane >= warp.count || warp.lanes[lane]->state != State::ready) continue;
            resume(*warp.lanes[lane]);
            if (failed) return;
        }
    } while (finish_exchanges(warp));
    for (unsigned int lane = 0; lane < warp.count; ++lane)
        if (warp.lanes[lane]->state == State::in_exchange) {
            explain_stuck(warp, *warp.lanes[lane]);
            return;
        }
}

bool all_returned() {
    for (const Fiber *fiber : block->fibers)
        if (fiber->state != State::returned) return false;
    return true;
}

void begin(Block &one, Word number) {
    static Word serial;
    block = &one;
    one.index = place(number, launch->grid);
    one.serial = ++serial;
    one.waits = true;
    one.pieces.clear();
    poison(one.dynamic, launch->dynamic_shared, dynamic_canary);  // always the first piece
    for (size_t t = 0; t < one.fibers.size(); ++t) {
        one.fibers[t]->state = State::ready;
        one.fibers[t]->thread = place(t, launch->block);
        one.fibers[t]->lane = t % warp_size;
    }
}

void end(Block &one) {
    for (auto &[slot, memory] : one.shared) {
        *slot = nullptr;
        free(memory);
    }
    one.shared.clear();
}

// What decides the order of a launch's threads.
struct Orders {
    std::vector<Word> warps, lanes;
    void choose() {
        put_in_order(warps, (threads_of(launch->block) + warp_size - 1) / warp_size);
        put_in_order(lanes, warp_size);
    }
};

// Run the block until all its threads have returned, or all wait for the other blocks: then true.
bool run_block(const Orders &orders) {
    const unsigned int count = (unsigned int)block->fibers.size();
    while (!failed && !all_returned()) {
        for (const Word warp : orders.warps) {
            const unsigned int first = (unsigned int)warp * warp_size, rest = count - first;
            run_warp({&block->fibers[first], rest < warp_size ? rest : warp_size}, orders.lanes);
            if (failed) return false;
        }
        if (all_returned()) return false;
        for (const Fiber *fiber : block->fibers)
            if (fiber->state == State::at_barrier && fiber->call.barrier == Barrier::grid) {
                if (!launch->cooperative) SIMGPU_FAIL(*fiber, "%s in a launch that is not cooperative", fiber->call.name);
                return true;
            }
        open_barrier(count);
    }
    return false;
}

// Run blocks that may wait for each other to their end.
void run_together(std::vector<Block> &all, const std::vector<Word> &order, const Orders &orders) {
    for (size_t waiting = all.size(); waiting != 0;) {
        waiting = 0;
        for (const Word i : order) {
            Block &one = all[i];
            if (!one.waits) continue;
            block = &one;
            Thread &thread = *launch->thread;
            thread.block = one.index, thread.block_serial = one.serial, thread.dynamic_shared = one.dynamic;
            if (one.fibers[0]->state == State::at_barrier) open_barrier((unsigned int)one.fibers.size());
            if (!failed) one.waits = run_block(orders);
            const char *problem = failed ? nullptr : overrun();
            if (problem != nullptr) describe_failure({"", 0, 0}, "%s", problem);
            if (failed) return;
            waiting += one.waits;
        }
        if (waiting == 0 || waiting == all.size()) continue;
        for (const Block &gone : all)
            for (const Block &other : all)
                if (!gone.waits && other.waits)
                    SIMGPU_FAIL(*other.fibers[0], "%s: block (%u, %u, %u) has returned without reaching it",
                                other.fibers[0]->call.name, gone.index.x, gone.index.y, gone.index.z);
        return;
    }
}

void run_blocks(Word count, Word at_once) {
    const unsigned int threads = threads_of(launch->block);
    std::vector<Word> order, inner;
    Orders orders;
    random_state = launch->seed;
    put_in_order(order, count);
    orders.choose();
    if (at_once > 1) inner = order;
    else inner = {0};
    std::vector<Block> all(at_once);
    for (Word i = 0; i < at_once; ++i) {
        for (unsigned int t = 0; t < threads; ++t) all[i].fibers.push_back(&pool[i * threads + t]);
        all[i].dynamic = allocate_shared(launch->dynamic_shared + dynamic_canary);
    }
    for (Word first = 0; first < count && !failed; first += at_once) {
        for (Word i = 0; i < at_once; ++i) begin(all[i], at_once > 1 ? i : order[first]);
        run_together(all, inner, orders);
        for (Block &one : all) end(one);
        if (launch->order == 2) orders.choose();
    }
    for (const Block &one : all) free(one.dynamic);
}

bool make_stacks(Word count) {
    while (pool.size() < count) pool.emplace_back();
    for (Word t = 0; t < count; ++t)
        if (pool[t].stack == nullptr && !make_stack(pool[t], t < 8 * max_threads)) return false;
    return true;
}

// Leave no thread half-way: its stack's frames are dropped where it stands.
void abandon_threads() {
    for (Fiber &fiber : pool) {
        if (!fiber.running) continue;
        fiber.running = false;
        forget_frames(fiber);
    }
}

}  // namespace

const Scheduler offered{barrier, exchange, shared, fail};

}  // namespace simgpu

extern "C" void simgpu_abandon() { simgpu::abandon_threads(); }
extern "C" const simgpu::Scheduler *simgpu_scheduler() { return &simgpu::offered; }

// Run a launch whose limits Python has checked. Returns 0, or 1 with the failure described.
extern "C" int simgpu_run(simgpu::Launch *wanted) {
    using namespace simgpu;
    launch = wanted;
    failed = false;
    launch->thread->block_dim = launch->block;
    launch->thread->grid_dim = launch->grid;
    const unsigned int threads = threads_of(launch->block);
    const Word count = (Word)launch->grid.x * launch->grid.y * launch->grid.z;
    const Word at_once = launch->cooperative ? count : 1;
    if (!make_stacks(threads * at_once)) {
        describe_failure({"", 0, 0}, "out of host memory for the threads' stacks");
        return 1;
    }
    run_blocks(count, at_once);
    abandon_threads();
    return failed;
}
