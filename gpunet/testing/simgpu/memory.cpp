// The device's memory is the host's; a table knows which bytes of it a kernel may use. What nobody
// has written yet, and what was given back, is full of 0xff: NaN in every floating-point format.
#include <sys/mman.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace sim {
size_t reserved_by_pools;
namespace {
struct Pages { void *base; size_t bytes; };  // of a map; without a base it is the heap's
struct Allocation { size_t bytes; Side side; Pages pages; };
std::map<uintptr_t, Allocation> table;  // under `registry`
size_t in_use;

const std::pair<const uintptr_t, Allocation> *find(const void *address) {
    auto it = table.upper_bound((uintptr_t)address);
    if (it == table.begin()) return nullptr;
    --it;
    // The address just past an end is one that an empty slice has.
    return (uintptr_t)address <= it->first + it->second.bytes ? &*it : nullptr;
}

// A device allocation has pages of its own, and one before and behind it that nobody may touch: a
// kernel that leaves it hits those, or other device memory, but not the host's. The sanitizer, and a
// system's limit of maps, want the heap's memory instead.
constexpr size_t MOST_MAPS = 16384;
size_t maps;
void *map_pages(size_t bytes, Pages *pages) {
#ifndef __SANITIZE_ADDRESS__
    static const size_t page = sysconf(_SC_PAGESIZE);
    const size_t rounded = (bytes + 511) & ~(size_t)511, inside = (rounded + page - 1) / page * page;
    const size_t whole = inside + 2 * page;
    char *at = maps < MOST_MAPS ? (char *)mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                : (char *)MAP_FAILED;
    if (at != MAP_FAILED) {
        if (mprotect(at + page, inside, PROT_READ | PROT_WRITE) == 0) {
            ++maps;
            *pages = {at, whole};
            return at + page + inside - rounded;  // ends where the last page ends
        }
        munmap(at, whole);
    }
#endif
    *pages = {nullptr, 0};
    void *heap = nullptr;
    return posix_memalign(&heap, 512, bytes) == 0 ? heap : nullptr;
}
void unmap_pages(void *at, const Pages &pages) {
    if (pages.base == nullptr) return free(at);
    --maps;
    munmap(pages.base, pages.bytes);
}

// Filling gigabytes would take longer than the test; what matters lies at an array's ends.
void poison(void *at, size_t bytes) {
    constexpr size_t most = 8u << 20;
    if (bytes <= 2 * most) {
        memset(at, 0xff, bytes);
        return;
    }
    memset(at, 0xff, most);
    memset((char *)at + bytes - most, 0xff, most);
}
}  // namespace

Side side_of(const void *address) {
    std::lock_guard<std::recursive_mutex> hold(registry);
    const auto *found = find(address);
    return found && (uintptr_t)address < found->first + found->second.bytes ? found->second.side : NOWHERE;
}

bool is_live(const void *address, size_t bytes) {
    std::lock_guard<std::recursive_mutex> hold(registry);
    const auto *found = find(address);
    return found && (uintptr_t)address + bytes <= found->first + found->second.bytes;
}

int allocate(void **out, size_t bytes, Side side) {
    *out = nullptr;
    if (!active) return NO_DEVICE;
    if (int e = refuse_unsafe()) return e;
    if (bytes == 0) return OK;
    std::lock_guard<std::recursive_mutex> hold(registry);
    if (side != PINNED && bytes + in_use + reserved_by_pools > device_bytes()) return OUT_OF_MEMORY;
    Pages pages{nullptr, 0};
    if (side == PINNED) {
        if (posix_memalign(out, 4096, bytes) != 0) return OUT_OF_MEMORY;
    } else {
        *out = map_pages(bytes, &pages);
        if (*out == nullptr) return OUT_OF_MEMORY;
        counters[MISSES]++;
        in_use += bytes;
        poison(*out, bytes);
    }
    table[(uintptr_t)*out] = {bytes, side, pages};
    return OK;
}

int release(void *address, Side side) {
    if (address == nullptr) return OK;
    if (int e = refuse_unsafe()) return e;
    if (int e = drain_all()) return e;  // as cudaFree does
    std::lock_guard<std::recursive_mutex> hold(registry);
    auto it = table.find((uintptr_t)address);
    if (it == table.end() || (it->second.side == PINNED) != (side == PINNED)) return INVALID_VALUE;
    if (side != PINNED) in_use -= it->second.bytes;
    unmap_pages(address, it->second.pages);
    table.erase(it);
    return OK;
}

void add_module_memory(void *address, size_t bytes) {
    std::lock_guard<std::recursive_mutex> hold(registry);
    table[(uintptr_t)address] = {bytes, MODULE, {nullptr, 0}};
}

size_t bytes_in_use() { return in_use; }
size_t device_bytes() {
    static const size_t host = (size_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return std::min<size_t>(64ull << 30, host / 2);
}

// ---- copies -------------------------------------------------------------------------------------

static int run_copy(void *to, const void *from, size_t bytes, bool of_device, bool to_device) {
    if (of_device && !is_live(from, bytes))
        return fail(ILLEGAL_ADDRESS, "a copy of %zu bytes reads beyond device memory at %p", bytes, from);
    if (to_device && !is_live(to, bytes))
        return fail(ILLEGAL_ADDRESS, "a copy of %zu bytes writes beyond device memory at %p", bytes, to);
    memmove(to, from, bytes);
    return OK;
}

int copy(void *to, const void *from, size_t bytes, int kind, Stream *stream, bool wait) {
    if (stream == nullptr) return INVALID_HANDLE;
    if (bytes == 0) return wait ? synchronize(stream) : OK;
    const Side source = side_of(from), target = side_of(to);
    const bool of_host = source == NOWHERE || source == PINNED;
    const bool to_host = target == NOWHERE || target == PINNED;
    const bool ambiguous = kind == 4 || source == MANAGED || target == MANAGED;
    if (!ambiguous && ((kind == 0 || kind == 1) != of_host || (kind == 0 || kind == 2) != to_host))
        return fail(INVALID_VALUE, "a copy of kind %d from %s memory to %s memory", kind,
                    of_host ? "host" : "device", to_host ? "host" : "device");
    const Counter counter = of_host ? H2D : to_host ? D2H : D2D;
    const bool recorded = stream->capture != nullptr;
    if (!recorded) counters[counter]++;
    // A pageable source is read before the call returns, a pinned one when the stream gets there.
    std::shared_ptr<std::vector<char>> kept;
    if (modes.deferred && !recorded && source == NOWHERE)
        kept = std::make_shared<std::vector<char>>((const char *)from, (const char *)from + bytes);
    const char *name = counter == H2D ? "h2d" : counter == D2H ? "d2h" : "d2d";
    const int status = submit(stream, name, "", [=] {
        return run_copy(to, kept ? kept->data() : from, bytes, !of_host, !to_host);
    });
    if (status != OK || recorded) return status;
    if (wait) return synchronize(stream);
    return target == NOWHERE ? drain(stream) : OK;
}

int fill(void *at, int value, size_t bytes, Stream *stream) {
    if (stream == nullptr) return INVALID_HANDLE;
    if (bytes == 0) return OK;
    if (!stream->capture) counters[MEMSETS]++;
    return submit(stream, "memset", "", [=] {
        if (!is_live(at, bytes))
            return fail(ILLEGAL_ADDRESS, "a fill of %zu bytes beyond device memory at %p", bytes, at);
        memset(at, value, bytes);
        return (int)OK;
    });
}

}  // namespace sim

// ---- blocks of CuPy's pools ---------------------------------------------------------------------

// A pool gives out `bytes` of a block of `block_bytes` for an array of `bytes`, ...
API void sim_pool_gave(void *block, size_t bytes, size_t block_bytes, void *stream) {
    using namespace sim;
    counters[ALLOCATIONS]++;
    counters[BYTES] += block_bytes;
    Stream *on = stream_of(stream);
    const auto spoil = [=] {
#ifdef __SANITIZE_ADDRESS__
        ASAN_UNPOISON_MEMORY_REGION(block, bytes);
        ASAN_POISON_MEMORY_REGION((char *)block + bytes, block_bytes - bytes);
#endif
        if (is_live(block, bytes)) poison(block, bytes);
        return (int)OK;
    };
    if (on == nullptr || on->capture || !modes.deferred) spoil();
    else submit(on, "poison", "", spoil);
}
// ... and takes it back.
API void sim_pool_took(void *block, size_t block_bytes, void *stream) {
    using namespace sim;
    Stream *on = stream_of(stream);
    const auto spoil = [=] {
        if (!is_live(block, block_bytes)) return (int)OK;  // given back to the driver meanwhile
#ifdef __SANITIZE_ADDRESS__
        ASAN_UNPOISON_MEMORY_REGION(block, block_bytes);
#endif
        poison(block, block_bytes);
#ifdef __SANITIZE_ADDRESS__  // but what a capture frees is its graph's to use again
        if (captures.empty()) ASAN_POISON_MEMORY_REGION(block, block_bytes);
#endif
        return (int)OK;
    };
    if (on == nullptr || on->capture || !modes.deferred) spoil();
    else submit(on, "poison", "", spoil);
}
