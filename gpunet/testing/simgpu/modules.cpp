// Modules, functions and launches, as CuPy calls the driver. A module is a shared object that g++
// made (compiler.py); its table of kernels says what each one's parameters are.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>
#include "emulator_types.h"
#include "flushing.h"

extern "C" const simgpu::Scheduler *simgpu_scheduler();
extern "C" int simgpu_run(simgpu::Launch *);
extern "C" void simgpu_abandon();

namespace sim {
namespace {

constexpr int PROCESSORS = 132, THREADS_OF_PROCESSOR = 2048, BLOCKS_OF_PROCESSOR = 32;
constexpr int SHARED_LIMIT = 49152, SHARED_OPTIN = 232448, SHARED_OF_PROCESSOR = 233472, SHARED_RESERVED = 1024;
constexpr uintptr_t CONTEXT = 0xC0;

struct Function {
    std::string name;
    const simgpu::Entry *entry;
    int shared_limit = SHARED_LIMIT;  // dynamic
    bool opted_in = false;            // to more than that, with `__shared__` variables
};
struct Module {
    void *library;
    std::map<std::string, Function *> functions;
};

struct Size { unsigned x, y, z; };

size_t elf_size(const void *image) {
    const auto *head = (const Elf64_Ehdr *)image;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return 0;
    return head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
}

// dlopen goes by names, so the image gets a file of a new name, for the length of the call.
void *load(const void *image, size_t bytes) {
    const char *folder = getenv("TMPDIR");
    std::string path = std::string(folder && *folder ? folder : "/tmp") + "/gpunet-module-XXXXXX";
    const int file = mkstemp(&path[0]);  // mode 0600
    if (file < 0) return nullptr;
    const bool whole = write(file, image, bytes) == (ssize_t)bytes;
    close(file);
    void *library = whole ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (library == nullptr) {
        const char *reason = dlerror();
        fail(INVALID_IMAGE, "%s", reason ? reason : "the image could not be written");
    }
#ifdef __SANITIZE_ADDRESS__  // whose report reads the lines from the file
    static std::vector<std::string> *kept = nullptr;
    if (kept == nullptr) {
        kept = new std::vector<std::string>;
        atexit([] { for (const std::string &one : *kept) unlink(one.c_str()); });
    }
    kept->push_back(path);
#else
    unlink(path.c_str());
#endif
    return library;
}

bool read_file(const char *path, std::string &into) {
    FILE *file = fopen(path, "rb");
    if (file == nullptr) return false;
    char part[65536];
    into.clear();
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) into.append(part, n);
    fclose(file);
    return true;
}

// ---- the arguments of a launch ------------------------------------------------------------------

struct Arguments {
    std::vector<char> bytes;
    std::vector<size_t> at;
};

Arguments copied(const simgpu::Entry &entry, void **values) {
    Arguments all;
    for (unsigned i = 0; i < entry.parameter_count; ++i) {
        const size_t place = (all.bytes.size() + 15) & ~(size_t)15;
        all.at.push_back(place);
        all.bytes.resize(place + entry.parameters[i].size);
        memcpy(&all.bytes[place], values[i], entry.parameters[i].size);
    }
    return all;
}

// A pointer that is no device memory would end the process, or read what is not there.
int check_pointers(const Function &function, const Arguments &all) {
    for (size_t i = 0; i < all.at.size(); ++i) {
        const char kind = function.entry->parameters[i].kind;
        if (kind != 'p' && kind != 'a') continue;
        struct { const void *data; ptrdiff_t size; } array{nullptr, 1};  // how CuPy's CArray begins
        memcpy(&array, &all.bytes[all.at[i]], kind == 'a' ? 16 : 8);
        if (array.data == nullptr || array.size == 0 || is_live(array.data, 0)) continue;
        return fail(ILLEGAL_ADDRESS, "kernel %s: argument %zu is the address %p, which is not (or no longer) device memory",
                    function.name.c_str(), i, array.data);
    }
    return OK;
}

// ---- running one --------------------------------------------------------------------------------

// What fails in a kernel without fibers comes back here.
simgpu::Launch *plain_launch;
jmp_buf plain_home;
void plain_fail(simgpu::Site site, const char *message) {
    plain_launch->failed_block = plain_launch->thread->block;
    plain_launch->failed_thread = plain_launch->thread->thread;
    plain_launch->has_thread = 1;
    plain_launch->failed_line = site.line;
    snprintf(plain_launch->failed_file, sizeof plain_launch->failed_file, "%s", site.file);
    snprintf(plain_launch->message, sizeof plain_launch->message, "%s", message);
    _longjmp(plain_home, 1);
}
const simgpu::Scheduler plain_scheduler{nullptr, nullptr, nullptr, plain_fail};

int call(const simgpu::Entry &entry, simgpu::Launch *launch, void **values) {
    if (!(entry.flags & simgpu::PLAIN)) return entry.launch(launch, values, simgpu_scheduler(), simgpu_run);
    plain_launch = launch;
    return _setjmp(plain_home) ? 1 : entry.launch(launch, values, &plain_scheduler, nullptr);
}

// An address that a kernel has made up itself may lie where nothing is. The process outlives that.
sigjmp_buf fault_home;
pthread_t fault_thread;
const void *fault_address;
struct sigaction before_fault[2];
void at_fault(int number, siginfo_t *info, void *) {
    if (pthread_equal(pthread_self(), fault_thread)) {
        fault_address = info->si_addr;
        siglongjmp(fault_home, 1);
    }
    sigaction(number, &before_fault[number == SIGBUS], nullptr);  // another thread's: as it would be
}
struct Guarded {
#ifndef __SANITIZE_ADDRESS__  // which tells more
    Guarded() {
        thread_local char *stack = nullptr;
        stack_t old;
        if (stack == nullptr && sigaltstack(nullptr, &old) == 0 && (old.ss_flags & SS_DISABLE)) {
            stack_t own{stack = (char *)malloc(65536), 0, 65536};
            sigaltstack(&own, nullptr);
        }
        struct sigaction ours {};
        ours.sa_sigaction = at_fault;
        ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
        fault_thread = pthread_self();
        sigaction(SIGSEGV, &ours, &before_fault[0]);
        sigaction(SIGBUS, &ours, &before_fault[1]);
    }
    ~Guarded() {
        sigaction(SIGSEGV, &before_fault[0], nullptr);
        sigaction(SIGBUS, &before_fault[1], nullptr);
    }
#endif
};
int call_guarded(const Function &function, simgpu::Launch *launch, void **values) {
    Guarded guarded;
    if (sigsetjmp(fault_home, 0) == 0) return call(*function.entry, launch, values);
    simgpu_abandon();
    const auto &b = launch->thread->block, &t = launch->thread->thread;
    return fail(ILLEGAL_ADDRESS, "kernel %s, block (%u, %u, %u), thread (%u, %u, %u): an access at %p, where nothing is",
                function.name.c_str(), b.x, b.y, b.z, t.x, t.y, t.z, fault_address);
}

int describe(const Function &function, const simgpu::Launch &launch) {
    const bool is_assertion = strstr(launch.message, "assertion failed") != nullptr;
    const auto &b = launch.failed_block, &t = launch.failed_thread;
    char site[300] = "", place[96] = "";
    if (launch.failed_file[0]) snprintf(site, sizeof site, "%s:%d: ", launch.failed_file, launch.failed_line);
    if (launch.has_thread) snprintf(place, sizeof place, ", thread (%u, %u, %u)", t.x, t.y, t.z);
    return fail(is_assertion ? ASSERTION : LAUNCH_FAILURE, "%skernel %s, block (%u, %u, %u)%s: %s", site,
                function.name.c_str(), b.x, b.y, b.z, place, launch.message);
}

bool is_cupys_own(const Function &function) {
    return (function.entry->flags & simgpu::LENIENT) || function.name.compare(0, 5, "cupy_") == 0;
}

int run(const Function &function, Size grid, Size block, unsigned dynamic, bool cooperative, Arguments &all) {
    if (int e = check_pointers(function, all)) return e;
    std::vector<void *> values;
    for (size_t place : all.at) values.push_back(&all.bytes[place]);
    values.push_back(nullptr);
    simgpu::Launch launch{};
    launch.grid = {grid.x, grid.y, grid.z};
    launch.block = {block.x, block.y, block.z};
    launch.dynamic_shared = dynamic;
    launch.shared_limit = function.opted_in ? SHARED_OPTIN : SHARED_LIMIT;
    launch.lenient = is_cupys_own(function);  // which rely on what hardware does
    launch.cooperative = cooperative;
    launch.order = modes.order;
    launch.seed = modes.seed;
    // The kernel's alone: the caller's NumPy keeps its small numbers.
    const Flushing flushing(modes.gpu_arithmetic && (function.entry->flags & simgpu::FLUSHES));
    const int status = call_guarded(function, &launch, values.data());
    return status == 1 ? describe(function, launch) : status;
}

// Of a kernel's blocks on one processor; what g++ cannot tell are registers and `__shared__` variables.
int resident_blocks(const Function &f, int threads, size_t dynamic) {
    if (threads <= 0 || threads > 1024 || dynamic > (size_t)f.shared_limit) return 0;
    const int by_threads = THREADS_OF_PROCESSOR / ((threads + 31) / 32 * 32);
    const int by_shared = (int)(SHARED_OF_PROCESSOR / (dynamic + SHARED_RESERVED));
    return std::min({by_threads, by_shared, BLOCKS_OF_PROCESSOR});
}

int launch(Function *f, Size grid, Size block, unsigned dynamic, void *stream, void **values, bool cooperative) {
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!threads || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535 || grid.x > 2147483647u ||
        block.z > 64 || threads > 1024 || (int)dynamic > f->shared_limit)
        return fail(INVALID_VALUE, "kernel %s: grid (%u, %u, %u), block (%u, %u, %u), %u bytes of dynamic shared memory (limit %d)",
                    f->name.c_str(), grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic, f->shared_limit);
    if ((int)threads > f->entry->max_threads)
        return fail(OUT_OF_RESOURCES, "kernel %s: %d threads, its __launch_bounds__ are %d", f->name.c_str(),
                    (int)threads, f->entry->max_threads);
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    const int at_once = PROCESSORS * resident_blocks(*f, (int)threads, dynamic);
    if (cooperative && blocks > (uint64_t)at_once)
        return fail(TOO_LARGE_TO_COOPERATE, "kernel %s: %llu blocks, the device holds %d at once", f->name.c_str(),
                    (unsigned long long)blocks, at_once);
    Stream *on = stream_of(stream);
    if (on == nullptr) return INVALID_HANDLE;
    auto all = std::make_shared<Arguments>(copied(*f->entry, values));
    if (!modes.deferred || on->capture)  // an error that the caller can see where it made it
        if (int e = check_pointers(*f, *all)) return e;
    if (!on->capture) counters[LAUNCHES]++;
    return submit(on, "kernel", f->name, [=] { return run(*f, grid, block, dynamic, cooperative, *all); });
}

}  // namespace
}  // namespace sim

using sim::Function;
using sim::Module;

API int cuInit(unsigned) { return sim::OK; }
API int cuDriverGetVersion(int *version) { return *version = 13000, sim::OK; }
API int cuDeviceGetCount(int *count) { return *count = sim::active, sim::OK; }
API int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal == 0 ? sim::OK : sim::INVALID_DEVICE; }
API int cuDevicePrimaryCtxRelease_v2(int) { return sim::OK; }
static thread_local uintptr_t current;  // none, before the thread has used the device
void sim::enter_context() { current = sim::CONTEXT; }
API int cuCtxGetCurrent(uintptr_t *context) { return *context = current, sim::OK; }
API int cuCtxSetCurrent(uintptr_t context) { return current = context, sim::OK; }
API int cuCtxCreate_v2(uintptr_t *context, unsigned, int) { return *context = current = sim::CONTEXT, sim::OK; }
API int cuCtxDestroy_v2(uintptr_t) { return sim::OK; }
API int cuCtxGetDevice(int *device) { return *device = 0, sim::OK; }
API int cuStreamGetCtx(void *, uintptr_t *context) { return *context = sim::CONTEXT, sim::OK; }

API int cuModuleLoadData(Module **out, const void *image) {
    const size_t bytes = sim::elf_size(image);
    if (bytes == 0) return sim::fail(sim::INVALID_IMAGE, "not compiled by the simulated GPU's NVRTC (PTX, or a cubin for a GPU)");
    void *library = sim::load(image, bytes);
    if (library == nullptr) return sim::INVALID_IMAGE;
    const auto *entries = (const simgpu::Entry *)dlsym(library, "simgpu_entries");
    const auto *count = (const int *)dlsym(library, "simgpu_entry_count");
    auto *module = new Module{library, {}};
    for (int i = 0; entries && count && i < *count; ++i) {
        Dl_info info;  // a kernel's name for the driver is its symbol, plain or mangled
        if (!dladdr(entries[i].address, &info) || !info.dli_sname) continue;
        std::string name = info.dli_sname;
        if (name.compare(0, 14, "simgpu_kernel_") == 0) name.erase(0, 14);  // compiler.py's
        module->functions[name] = new Function{entries[i].name ? entries[i].name : name, &entries[i]};
    }
    *out = module;
    return sim::OK;
}
API int cuModuleLoad(Module **out, const char *path) {
    std::string image;
    if (!sim::read_file(path, image)) return sim::FILE_NOT_FOUND;
    return image.size() < sizeof(Elf64_Ehdr) ? sim::INVALID_IMAGE : cuModuleLoadData(out, image.data());
}
API int cuModuleUnload(Module *) { return sim::OK; }  // a graph may still run its kernels
API int cuModuleGetFunction(Function **out, Module *module, const char *name) {
    auto it = module->functions.find(name);
    if (it == module->functions.end()) return sim::NOT_FOUND;
    *out = it->second;
    return sim::OK;
}
API int cuModuleGetGlobal_v2(void **out, size_t *bytes, Module *module, const char *name) {
    void *at = dlsym(module->library, name);
    Dl_info info;
    const ElfW(Sym) *symbol = nullptr;
    if (at == nullptr || !dladdr1(at, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol) return sim::NOT_FOUND;
    sim::add_module_memory(at, symbol->st_size);
    if (out) *out = at;
    if (bytes) *bytes = symbol->st_size;
    return sim::OK;
}
API int cuFuncGetAttribute(int *value, int attribute, Function *f) {
    *value = attribute == 0 ? f->entry->max_threads : attribute == 8 ? f->shared_limit
           : attribute == 5 || attribute == 6 ? 90 : attribute == 4 ? 32 : 0;
    return attribute < 16 ? sim::OK : sim::INVALID_VALUE;
}
API int cuFuncSetAttribute(Function *f, int attribute, int value) {
    if (attribute != 8) return sim::OK;
    if (value < 0 || value > sim::SHARED_OPTIN) return sim::INVALID_VALUE;
    f->shared_limit = value, f->opted_in = true;
    return sim::OK;
}
API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *f, int threads, size_t dynamic) {
    return *blocks = sim::resident_blocks(*f, threads, dynamic), sim::OK;
}
API int cuOccupancyMaxPotentialBlockSize(int *grid, int *block, Function *f, void *, size_t, int limit) {
    *block = limit > 0 ? std::min(limit, f->entry->max_threads) : f->entry->max_threads;
    *grid = sim::PROCESSORS * sim::resident_blocks(*f, *block, 0);
    return sim::OK;
}
API int cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned dynamic, void *stream, void **values, void **extra) {
    if (extra) return sim::NOT_SUPPORTED;
    return sim::launch(f, {gx, gy, gz}, {bx, by, bz}, dynamic, stream, values, false);
}
API int cuLaunchCooperativeKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                  unsigned bz, unsigned dynamic, void *stream, void **values) {
    return sim::launch(f, {gx, gy, gz}, {bx, by, bz}, dynamic, stream, values, true);
}

// CuPy links one program with the device runtime where a grid is to synchronise: nothing to add.
API int cuLinkCreate_v2(unsigned, void *, void **, std::string **out) { return *out = new std::string, sim::OK; }
API int cuLinkAddData_v2(std::string *all, int, const void *data, size_t bytes, const char *, unsigned, void *, void **) {
    if (!all->empty()) return sim::fail(sim::NOT_SUPPORTED, "the simulated GPU links only one program");
    all->assign((const char *)data, bytes);
    return sim::OK;
}
API int cuLinkAddFile_v2(std::string *, int, const char *, unsigned, void *, void **) { return sim::OK; }
API int cuLinkComplete(std::string *all, const void **image, size_t *bytes) {
    return *image = all->data(), *bytes = all->size(), sim::OK;
}
API int cuLinkDestroy(std::string *all) { return delete all, sim::OK; }

// ---- for gpunet.testing.simgpu ------------------------------------------------------------------

// The kinds and sizes of a kernel's parameters; returns their number, or -1 for CuPy's own kernels.
API int sim_parameters(const Function *f, char *kinds, size_t *sizes, int room) {
    for (int i = 0; i < (int)f->entry->parameter_count && i < room; ++i) {
        kinds[i] = f->entry->parameters[i].kind;
        sizes[i] = f->entry->parameters[i].size;
    }
    return sim::is_cupys_own(*f) ? -1 : (int)f->entry->parameter_count;
}
