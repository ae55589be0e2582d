// What the parts of the simulated GPU share. Nothing here comes from NVIDIA's headers: the few
// numbers and layouts of CUDA's interfaces that CuPy uses are written down where they are used.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace sim {

// ---- errors (errors.cpp) ------------------------------------------------------------------------

enum Error {  // CUDA's numbers
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_IMAGE = 200, FILE_NOT_FOUND = 301, INVALID_HANDLE = 400, ILLEGAL_STATE = 401, NOT_FOUND = 500,
    NOT_READY = 600, ILLEGAL_ADDRESS = 700, OUT_OF_RESOURCES = 701, ASSERTION = 710,
    LAUNCH_FAILURE = 719, TOO_LARGE_TO_COOPERATE = 720, NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED, CAPTURE_MERGE, CAPTURE_UNMATCHED,
    CAPTURE_UNJOINED, CAPTURE_ISOLATION, CAPTURE_IMPLICIT, CAPTURED_EVENT, CAPTURE_WRONG_THREAD,
};

// `status`, with a text that the exception will show: more than a GPU says.
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
std::string take_detail(int status);  // that text, once

// ---- what is asked of the device ----------------------------------------------------------------

enum Counter { LAUNCHES, GRAPHS, MEMSETS, ALLOCATIONS, BYTES, MISSES, H2D, D2H, D2D, WAITS, IN_GRAPHS, COUNTERS };
extern uint64_t counters[COUNTERS];

struct Modes {
    int order;      // of threads and blocks: 0 forward, 1 reverse, 2 random
    uint64_t seed;
    int deferred;   // streams run only when something waits for them; 2: but the null stream as
                    // soon as it may, 3: but the others as soon as they may
    int gpu_arithmetic;
};
extern Modes modes;
extern bool active;  // outside of simgpu.activate() there is no device

// ---- memory (memory.cpp) ------------------------------------------------------------------------

enum Side { NOWHERE, DEVICE, PINNED, MANAGED, MODULE };
Side side_of(const void *);                     // which memory an address lies in
bool is_live(const void *, size_t bytes);       // all of it, in one allocation that a kernel may use
int allocate(void **, size_t bytes, Side);
int release(void *, Side);
void add_module_memory(void *, size_t bytes);   // a module's variable
int copy(void *to, const void *from, size_t bytes, int kind, struct Stream *, bool wait);
int fill(void *, int value, size_t bytes, struct Stream *);
size_t bytes_in_use();
extern size_t reserved_by_pools;                // stream-ordered ones, beyond what is in use
size_t device_bytes();                          // half of the host's memory, 64 GiB at most

// ---- streams (streams.cpp) ----------------------------------------------------------------------

using Work = std::function<int()>;
struct Node { const char *kind; std::string name; Work run; };
struct Graph { std::vector<Node> nodes; };

struct Capture {
    uint64_t id;
    struct Stream *origin;
    int mode;  // 0 global, 1 of this thread, 2 relaxed
    uint64_t thread;
    bool invalid = false;
    Graph graph;
    std::map<struct Stream *, long> work, joined;  // nodes of each stream, and how many are waited for
};
struct Queued {
    uint64_t ticket;
    Work run;
    const struct Event *event;  // what it waits for, if anything
    uint64_t recording;
};
struct Stream {
    unsigned flags = 0;  // 1: does not wait for the null stream
    int priority = 0;
    Capture *capture = nullptr;
    std::deque<Queued> queue;
};
struct Event {
    unsigned flags = 0;  // 2: without a time
    bool recorded = false;
    uint64_t ticket = 0, done = 0;  // of its last recording, and of the last that has happened
    double time = 0;
    uint64_t capture = 0;
    Stream *stream = nullptr;
    long mark = 0;
};

extern std::recursive_mutex registry;  // the tables; held for moments, never while work runs
extern std::recursive_mutex device;    // one piece of work at a time
extern std::map<uint64_t, Capture *> captures;

Stream *stream_of(const void *handle);  // nullptr: not a stream
// Put work on a stream: it runs at once, or is recorded, or waits in the stream's queue.
int submit(Stream *, const char *kind, const std::string &name, Work, const Event * = nullptr, uint64_t recording = 0);
void note(const char *kind, const std::string &name, const Stream *);  // for the trace
int synchronize(Stream *);
int synchronize_device();
int drain(Stream *, uint64_t ticket = ~0ull);  // run what is queued, up to a ticket
int drain_all();
// The null stream may not be used while a blocking one captures, whose capture is then invalid.
int refuse_legacy(Stream *, bool only_asked = false);
int refuse_unsafe();          // what a capture in global mode forbids
void enter_context();         // on this thread

}  // namespace sim
