// The CUDA runtime as CuPy's own module `runtime` offers it to CuPy's other modules: the functions
// that binding.py puts in their place. Each has the signature that the module's table of exported
// functions gives, where the last `int` is Cython's and means nothing here.
#include "python_api.h"

namespace sim {
namespace {
PyObject *error_class, *attributes_class, *describe_device, *new_thread;

void raise_error(int status) {
    const std::string detail = take_detail(status);
    PyObject *error = PyObject_CallFunction(error_class, "i", status);
    if (error == nullptr) return;
    if (!detail.empty()) {
        PyObject *args = PyObject_GetAttrString(error, "args");
        const std::string text = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(args, 0), nullptr);
        PyObject *words = Py_BuildValue("(s)", (text + ": " + detail).c_str());
        PyObject_SetAttrString(error, "args", words);
        Py_DecRef(words);
        Py_DecRef(args);
    }
    PyErr_SetObject(error_class, error);
    Py_DecRef(error);
}

// Work may wait for another thread that wants Python's lock: it must not be held meanwhile.
template <class F> auto unlocked(F f) {
    PyThreadState *state = PyEval_SaveThread();
    auto result = f();
    PyEval_RestoreThread(state);
    return result;
}

PyObject *done(int status) {
    if (status != OK) return raise_error(status), nullptr;
    Py_IncRef(&_Py_NoneStruct);
    return &_Py_NoneStruct;
}
template <class T> T given(int status, T value, T in_error) {
    return status == OK ? value : (raise_error(status), in_error);
}

int call_host(PyObject *pair, const char *format, void *stream, bool owned) {
    const int state = PyGILState_Ensure();
    PyObject *function = PyTuple_GetItem(pair, 0), *argument = PyTuple_GetItem(pair, 1);
    PyObject *result = format[1] == 'O' ? PyObject_CallFunction(function, format, argument)
                                        : PyObject_CallFunction(function, format, stream, 0, argument);
    if (result) Py_DecRef(result);
    else PyErr_WriteUnraisable(function);
    if (owned) Py_DecRef(pair);
    PyGILState_Release(state);
    return OK;
}

enum { RESERVED = 5, USED = 7 };  // CUDA's numbers; behind each, the most there was
struct Pool {
    uint64_t attributes[9] = {0, 1, 1, 1, 0, 0, 0, 0, 0};
    void set(int which, uint64_t bytes) {
        attributes[which] = bytes;
        attributes[which + 1] = std::max(bytes, attributes[which + 1]);
    }
    void reserve(uint64_t bytes) {  // 32 MiB at a time; what is not used is no other's
        const uint64_t rounded = (bytes + (32 << 20) - 1) >> 25 << 25;
        reserved_by_pools += rounded - attributes[RESERVED];
        set(RESERVED, rounded);
    }
};
Pool default_pool;
Pool *current_pool = &default_pool;
struct FromPool { Pool *pool; size_t bytes; };
std::map<uintptr_t, FromPool> from_pools;

int pool_allocate(void **out, size_t bytes, Pool *pool) {
    const uint64_t before = pool->attributes[RESERVED], used = pool->attributes[USED] + bytes;
    pool->reserve(pool->attributes[USED]);  // what is left of it counts as free
    const int status = allocate(out, bytes, DEVICE);
    pool->reserve(status ? before : std::max(before, used));
    if (status) return status;
    pool->set(USED, used);
    reserved_by_pools -= std::min(bytes, reserved_by_pools);  // which are in use now
    from_pools[(uintptr_t)*out] = {pool, bytes};
    return OK;
}

int device_attribute(int which) {
    static const std::map<int, int> table = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152}, {9, 65536},
        {10, 32}, {11, 2147483647}, {12, 65536}, {13, 1980000}, {14, 512}, {15, 1}, {16, 132}, {19, 1}, {31, 1},
        {36, 2619000}, {37, 5120}, {38, 52428800}, {39, 2048}, {40, 3}, {41, 1}, {75, 9}, {78, 1}, {79, 1}, {80, 1},
        {81, 233472}, {82, 65536}, {83, 1}, {86, 1}, {88, 1}, {90, 1}, {95, 1}, {97, 232448}, {106, 32}, {111, 1024},
        {115, 1}};
    auto it = table.find(which);
    return it == table.end() ? 0 : it->second;
}
template <class T> struct Optional { int given; T value; };  // how Cython passes optional arguments
}  // namespace
}  // namespace sim

using namespace sim;
#define RUN(...) unlocked([&] { return (int)(__VA_ARGS__); })
#define STREAM(handle) stream_of((void *)(handle))

API int sim_bind(PyObject *runtime, PyObject *describe, PyObject *thread) {
    error_class = PyObject_GetAttrString(runtime, "CUDARuntimeError");
    attributes_class = PyObject_GetAttrString(runtime, "PointerAttributes");
    Py_IncRef(describe_device = describe);
    Py_IncRef(new_thread = thread);
    return error_class && attributes_class ? 0 : -1;
}
API void sim_activate(int on) { active = on; }
API uint64_t *sim_counters() { return counters; }
API int sim_set_modes(int order, uint64_t seed, int deferred, int gpu_arithmetic) {
    const int status = deferred ? OK : drain_all();
    modes = {order, seed, deferred, gpu_arithmetic};
    return status;
}
API size_t sim_device_bytes() { return device_bytes(); }
API int sim_is_deferred() { return active && modes.deferred; }
API int cudaRuntimeGetVersion(int *version) { return *version = 13000, 0; }  // asked by name

// ---- devices
API PyObject *sim_check_status(int status, int) { return done(status); }
API PyObject *sim__ensure_context(void) { return enter_context(), done(OK); }
// CuPy's pools ask once and make a list as long as the answer: it may be used when there is a device.
API int sim_getDeviceCount(int) { return 1; }
API int sim_seenDeviceCount(int) { return active; }  // what Python's callers are told
API int sim_getDevice(int) {
    static thread_local bool known;
    if (!active) return given(NO_DEVICE, 0, -1);
    if (!known) {  // CuPy's hooks of its pools are a thread's own
        known = true;
        PyObject *result = PyObject_CallFunction(new_thread, nullptr);
        if (result == nullptr) return -1;
        Py_DecRef(result);
    }
    return 0;
}
static int device_error(int device) {
    if (!active || device == 0) return active ? OK : NO_DEVICE;
    return fail(INVALID_DEVICE, "the simulated GPU has the number 0, and is the only one: run this test on GPUs (mark it `gpu`)");
}
API PyObject *sim_setDevice(int device, int) {
    const int status = device_error(device);
    if (status == OK) enter_context();
    return done(status);
}
API PyObject *sim_deviceSynchronize(int) { return done(RUN(synchronize_device())); }
API int sim_deviceGetAttribute(int which, int device, int) { return given(device_error(device), device_attribute(which), -1); }
API PyObject *sim_getDeviceProperties(int device, int) {
    return device_error(device) ? done(device_error(device)) : PyObject_CallFunction(describe_device, nullptr);
}
API PyObject *sim_deviceGetPCIBusId(int device, int) {
    return device_error(device) ? done(device_error(device)) : Py_BuildValue("s", "0000:00:00.0");
}
API int sim_deviceGetByPCIBusId(PyObject *id, int) {
    const char *text = PyUnicode_AsUTF8AndSize(id, nullptr);
    return text == nullptr ? -1 : given(strcmp(text, "0000:00:00.0") ? INVALID_VALUE : OK, 0, -1);
}
API int sim_deviceCanAccessPeer(int a, int b, int) { return given(device_error(a) ? device_error(a) : device_error(b), 0, -1); }
API PyObject *sim_deviceEnablePeerAccess(int, int) { return done(INVALID_DEVICE); }
API PyObject *sim__deviceEnsurePeerAccess(int, int) { return done(INVALID_DEVICE); }
API size_t sim_deviceGetLimit(int limit, int) { return limit == 0 ? 1024 : 8 << 20; }
API PyObject *sim_deviceSetLimit(int, size_t, int) { return done(OK); }
API int sim_driverGetVersion(int) { return 13000; }
API PyObject *sim_profilerStart(int) { return done(OK); }
API PyObject *sim_profilerStop(int) { return done(OK); }
API intptr_t sim_no_textures() {
    PyErr_SetString(PyExc_RuntimeError, "the simulated GPU has no textures and no CUDA arrays: run this test on a GPU (mark it `gpu`)");
    return 0;
}

// ---- memory
static intptr_t allocated(size_t bytes, Side side) {
    void *at;
    const int status = RUN(allocate(&at, bytes, side));
    return given<intptr_t>(status, (intptr_t)at, 0);
}
API intptr_t sim_malloc(size_t bytes, int) { return allocated(bytes, DEVICE); }
API intptr_t sim_mallocManaged(size_t bytes, int, Optional<int> *) { return allocated(bytes, MANAGED); }
API intptr_t sim_hostAlloc(size_t bytes, unsigned, int) { return allocated(bytes, PINNED); }
API PyObject *sim_free(intptr_t at, int) { return done(RUN(release((void *)at, DEVICE))); }
API PyObject *sim_freeHost(intptr_t at, int) { return done(RUN(release((void *)at, PINNED))); }
API PyObject *sim_hostRegister(intptr_t, size_t, unsigned, int) { return done(OK); }
API PyObject *sim_hostUnregister(intptr_t, int) { return done(OK); }
API PyObject *sim_memGetInfo(int) {
    return active ? Py_BuildValue("(nn)", (ptrdiff_t)(device_bytes() - bytes_in_use()), (ptrdiff_t)device_bytes()) : done(NO_DEVICE);
}
API PyObject *sim_memcpy(intptr_t to, intptr_t from, size_t bytes, int kind, int) {
    return done(RUN(copy((void *)to, (void *)from, bytes, kind, STREAM(0), true)));
}
API PyObject *sim_memcpyAsync(intptr_t to, intptr_t from, size_t bytes, int kind, intptr_t stream, int) {
    return done(RUN(copy((void *)to, (void *)from, bytes, kind, STREAM(stream), false)));
}
API PyObject *sim_memcpyPeer(intptr_t to, int, intptr_t from, int, size_t bytes, int) {
    return done(RUN(copy((void *)to, (void *)from, bytes, 4, STREAM(0), true)));
}
API PyObject *sim_memcpyPeerAsync(intptr_t to, int, intptr_t from, int, size_t bytes, intptr_t stream, int) {
    return done(RUN(copy((void *)to, (void *)from, bytes, 4, STREAM(stream), false)));
}
static int copy_rows(intptr_t to, size_t to_pitch, intptr_t from, size_t from_pitch, size_t width, size_t height, int kind,
                     Stream *stream, bool wait) {
    int status = OK;
    for (size_t row = 0; row < height && status == OK; ++row)
        status = copy((char *)to + row * to_pitch, (char *)from + row * from_pitch, width, kind, stream, wait && row + 1 == height);
    return status;
}
API PyObject *sim_memcpy2D(intptr_t to, size_t to_pitch, intptr_t from, size_t from_pitch, size_t width, size_t height, int kind, int) {
    return done(RUN(copy_rows(to, to_pitch, from, from_pitch, width, height, kind, STREAM(0), true)));
}
API PyObject *sim_memcpy2DAsync(intptr_t to, size_t to_pitch, intptr_t from, size_t from_pitch, size_t width, size_t height,
                                int kind, intptr_t stream, int) {
    return done(RUN(copy_rows(to, to_pitch, from, from_pitch, width, height, kind, STREAM(stream), false)));
}
API PyObject *sim_memset(intptr_t at, int value, size_t bytes, int) { return done(RUN(fill((void *)at, value, bytes, STREAM(0)))); }
API PyObject *sim_memsetAsync(intptr_t at, int value, size_t bytes, intptr_t stream, int) {
    return done(RUN(fill((void *)at, value, bytes, STREAM(stream))));
}
static int host_or(int device) { return device == -1 ? OK : device_error(device); }
API PyObject *sim_memAdvise(intptr_t, size_t, int advice, int device, int) {
    return done(advice < 1 || advice > 6 ? INVALID_VALUE : host_or(device));
}
API PyObject *sim_memPrefetchAsync(intptr_t, size_t, int device, intptr_t, int) { return done(host_or(device)); }
API PyObject *sim_pointerGetAttributes(intptr_t at, int) {
    const Side side = side_of((void *)at);
    const int type = side == NOWHERE ? 0 : side == PINNED ? 1 : side == MANAGED ? 3 : 2;
    const bool on_device = type != 0, on_host = type != 2;
    return PyObject_CallFunction(attributes_class, "iLLi", on_device ? 0 : -2, (long long)(on_device ? at : 0),
                                 (long long)(on_host ? at : 0), type);
}
API int sim_pointerGetMemoryType(intptr_t at, int) {
    const Side side = side_of((void *)at);
    return side == NOWHERE ? 0 : side == PINNED ? 1 : side == MANAGED ? 3 : 2;
}

// ---- stream-ordered pools
static intptr_t from_pool(size_t bytes, Pool *pool) {
    void *at;
    const int status = RUN(pool_allocate(&at, bytes, pool));
    return given<intptr_t>(status, (intptr_t)at, 0);
}
API intptr_t sim_mallocAsync(size_t bytes, intptr_t, int) { return from_pool(bytes, current_pool); }
API intptr_t sim_mallocFromPoolAsync(size_t bytes, intptr_t pool, intptr_t, int) { return from_pool(bytes, (Pool *)pool); }
API PyObject *sim_freeAsync(intptr_t at, intptr_t stream, int) {
    return done(RUN(submit(STREAM(stream), "free", "", [=] {
        std::lock_guard<std::recursive_mutex> hold(registry);
        auto it = from_pools.find((uintptr_t)at);
        if (it == from_pools.end()) return at ? (int)INVALID_VALUE : (int)OK;
        it->second.pool->attributes[USED] -= it->second.bytes;
        reserved_by_pools += it->second.bytes;
        from_pools.erase(it);
        return release((void *)at, DEVICE);
    })));
}
API intptr_t sim_deviceGetDefaultMemPool(int device, int) { return given<intptr_t>(device_error(device), (intptr_t)&default_pool, 0); }
API intptr_t sim_deviceGetMemPool(int device, int) { return given<intptr_t>(device_error(device), (intptr_t)current_pool, 0); }
API PyObject *sim_deviceSetMemPool(int, intptr_t pool, int) { return current_pool = (Pool *)pool, done(OK); }
API intptr_t sim_memPoolCreate(PyObject *, int) { return (intptr_t) new Pool; }
API PyObject *sim_memPoolDestroy(intptr_t pool, int) {
    if (current_pool == (Pool *)pool) current_pool = &default_pool;
    return done((Pool *)pool == &default_pool ? INVALID_VALUE : OK);
}
API PyObject *sim_memPoolTrimTo(intptr_t handle, size_t bytes, int) {
    auto *pool = (Pool *)handle;
    if (bytes < pool->attributes[RESERVED]) pool->reserve(std::max<uint64_t>(bytes, pool->attributes[USED]));
    return done(OK);
}
API PyObject *sim_memPoolGetAttribute(intptr_t pool, int which, int) {
    if (which < 1 || which > 8) return done(INVALID_VALUE);
    return Py_BuildValue("K", (unsigned long long)((Pool *)pool)->attributes[which]);
}
API PyObject *sim_memPoolSetAttribute(intptr_t pool, int which, PyObject *value, int) {
    if (which < 1 || which > 8) return done(INVALID_VALUE);
    PyObject *number = PyNumber_Long(value);  // CuPy gives a fraction of the memory as a float
    if (number == nullptr) return nullptr;
    ((Pool *)pool)->attributes[which] = PyLong_AsUnsignedLongLong(number);
    Py_DecRef(number);
    return PyErr_Occurred() ? nullptr : done(OK);
}

// ---- streams and events
static intptr_t created(int status, void *made) { return given<intptr_t>(status, (intptr_t)made, 0); }
API intptr_t sim_streamCreateWithPriority(unsigned flags, int priority, int) {
    void *made = nullptr;
    const int status = create_stream(&made, flags, priority);
    return created(status, made);
}
API intptr_t sim_streamCreateWithFlags(unsigned flags, int) { return sim_streamCreateWithPriority(flags, 0, 0); }
API intptr_t sim_streamCreate(int) { return sim_streamCreateWithPriority(0, 0, 0); }
API PyObject *sim_streamDestroy(intptr_t stream, int) { return done(RUN(destroy_stream((void *)stream))); }
API unsigned sim_streamGetFlags(intptr_t stream, int) {
    Stream *s = STREAM(stream);
    return given<unsigned>(s ? OK : INVALID_HANDLE, s ? s->flags : 0, 0);
}
API int sim_streamGetPriority(intptr_t stream, int) {
    Stream *s = STREAM(stream);
    return given(s ? OK : INVALID_HANDLE, s ? s->priority : 0, 0);
}
API PyObject *sim_streamSynchronize(intptr_t stream, int) { return done(RUN(synchronize(STREAM(stream)))); }
API PyObject *sim_streamQuery(intptr_t stream, int) { return Py_BuildValue("i", RUN(query_stream(STREAM(stream)))); }
API PyObject *sim_streamWaitEvent(intptr_t stream, intptr_t event, int, Optional<int> *) {
    return done(RUN(wait_event(STREAM(stream), (void *)event)));
}
API PyObject *sim_streamAddCallback(intptr_t stream, PyObject *callback, intptr_t argument, int, Optional<int> *) {
    Stream *s = STREAM(stream);
    if (s && s->capture) return s->capture->invalid = true, done(CAPTURE_UNSUPPORTED);
    PyObject *pair = Py_BuildValue("(On)", callback, (ptrdiff_t)argument);
    return done(RUN(submit(s, "host", "", [=] { return call_host(pair, "niO", (void *)stream, true); })));
}
API PyObject *sim_launchHostFunc(intptr_t stream, PyObject *callback, intptr_t argument, int) {
    PyObject *pair = Py_BuildValue("(On)", callback, (ptrdiff_t)argument);
    return done(RUN(submit(STREAM(stream), "host", "", [=] { return call_host(pair, "(O)", nullptr, true); })));
}
API PyObject *sim__launchHostFuncUnmanaged(intptr_t stream, PyObject *pair, int) {
    return done(RUN(submit(STREAM(stream), "host", "", [=] { return call_host(pair, "(O)", nullptr, false); })));
}
// What adapt.py does with NumPy in place of a kernel of CuPy's.
API PyObject *sim_launch_python(const char *name, PyObject *function, void *stream) {
    Stream *s = stream_of(stream);
    const bool once = s && !s->capture;  // a graph may run it any number of times
    if (once) counters[LAUNCHES]++;
    PyObject *pair = Py_BuildValue("(OO)", function, &_Py_NoneStruct);
    return done(RUN(submit(s, "kernel", name, [=] { return call_host(pair, "(O)", nullptr, once); })));
}
API intptr_t sim_eventCreateWithFlags(unsigned flags, int) {
    void *made = nullptr;
    const int status = create_event(&made, flags);
    return created(status, made);
}
API intptr_t sim_eventCreate(int) { return sim_eventCreateWithFlags(0, 0); }
API PyObject *sim_eventDestroy(intptr_t event, int) { return done(destroy_event((void *)event)); }
API PyObject *sim_eventRecord(intptr_t event, intptr_t stream, int) { return done(RUN(record_event((void *)event, STREAM(stream)))); }
API PyObject *sim_eventQuery(intptr_t event, int) { return Py_BuildValue("i", RUN(query_event((void *)event))); }
API PyObject *sim_eventSynchronize(intptr_t event, int) { return done(RUN(synchronize_event((void *)event))); }
API float sim_eventElapsedTime(intptr_t start, intptr_t end, int) {
    float milliseconds = 0;
    const int status = elapsed_time(&milliseconds, (void *)start, (void *)end);
    return given(status, milliseconds, 0.0f);
}

// ---- captures and graphs
API PyObject *sim_streamBeginCapture(intptr_t stream, int, Optional<int> *mode) {
    return done(begin_capture(STREAM(stream), mode && mode->given ? mode->value : 2));
}
API intptr_t sim_streamEndCapture(intptr_t stream, int) {
    void *graph;
    const int status = end_capture(STREAM(stream), &graph);
    return created(status, graph);
}
API int sim_streamIsCapturing(intptr_t stream, int) {
    int state = 0;
    if (int status = capture_state(STREAM(stream), &state)) return raise_error(status), 0;
    if (state == 2) PyErr_SetString(PyExc_RuntimeError, "the stream was capturing, but an error has invalidated the capture sequence");
    return state;
}
API intptr_t sim_graphInstantiate(intptr_t graph, int) { return (intptr_t) new Graph(*(Graph *)graph); }
API PyObject *sim_graphDestroy(intptr_t graph, int) { return delete (Graph *)graph, done(OK); }
API PyObject *sim_graphExecDestroy(intptr_t graph, int) { return delete (Graph *)graph, done(OK); }
API PyObject *sim_graphUpload(intptr_t, intptr_t stream, int) { return done(STREAM(stream) ? OK : INVALID_HANDLE); }
API PyObject *sim_graphLaunch(intptr_t graph, intptr_t stream, int) { return done(RUN(launch_graph((Graph *)graph, STREAM(stream)))); }
API PyObject *sim_graphDebugDotPrint(intptr_t graph, PyObject *path, unsigned flags, int) {
    const char *text = PyUnicode_AsUTF8AndSize(path, nullptr);
    return text == nullptr ? nullptr : done(print_graph(*(Graph *)graph, text, flags));
}
