// What a kernel's library and the device that runs it share.
#pragma once
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
inline Index place(Word n, const Index &size) {
    return {(unsigned int)(n % size.x), (unsigned int)(n / size.x % size.y), (unsigned int)(n / ((Word)size.x * size.y))};
}

enum class Barrier : int { plain, count, all, any, grid };
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
    int lenient;      // barriers ask no more than a GPU does
    int cooperative;  // all blocks are there at once, and may wait for each other
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

// A kernel, as its library's table `simgpu_entries` describes it.
enum Flags : int {
    PLAIN = 1,    // its threads never wait for each other: no fibers
    LENIENT = 2,  // CuPy's own
    FLUSHES = 4,  // compiled with -ftz=true
};
struct Parameter {
    char kind;  // p pointer, a CuPy's CArray, f floating, i integer, o other
    unsigned long size;
};
struct Entry {
    void *address;     // its symbol is its name for the driver
    const char *name;  // the expression it was named by, or null
    const Parameter *parameters;
    unsigned parameter_count;
    int max_threads, flags;
    int (*launch)(Launch *, void **, const Scheduler *, Run);
};

}  // namespace simgpu

