// Streams and events. In the plain mode work runs when it is submitted: every stream is always idle.
// In the deferred mode it waits in its stream until something needs it: a synchronisation, a read
// by the host, or what another stream waits for. So a program that forgot to wait reads too early,
// as it may on a GPU.
#include <chrono>
#include <sys/syscall.h>
#include <unistd.h>

namespace sim {

uint64_t counters[COUNTERS];
Modes modes;
bool active;
std::recursive_mutex registry, device;
std::map<uint64_t, Capture *> captures;

namespace {
Stream null_stream, thread_stream;
std::set<Stream *> streams;
std::set<Event *> events;
uint64_t last_ticket;

bool waits_for_null(const Stream *s) { return s != &null_stream && !(s->flags & 1); }
uint64_t this_thread() { return (uint64_t)syscall(SYS_gettid); }
double now() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

std::vector<std::string> traced;
bool tracing;

// Every stream that still exists or has work left.
std::vector<Stream *> all_streams() {
    std::lock_guard<std::recursive_mutex> hold(registry);
    std::vector<Stream *> found{&null_stream, &thread_stream};
    found.insert(found.end(), streams.begin(), streams.end());
    return found;
}

// The null stream and the blocking ones run in the order in which the work was submitted.
int drain_before(Stream *stream, uint64_t ticket) {
    if (waits_for_null(stream)) return drain(&null_stream, ticket - 1);
    if (stream != &null_stream) return OK;
    int status = OK;
    for (Stream *other : all_streams())
        if (waits_for_null(other))
            if (int e = drain(other, ticket - 1)) status = e;
    return status;
}
}  // namespace

void note(const char *kind, const std::string &name, const Stream *s) {
    if (!tracing) return;
    const unsigned long long number = s == &null_stream ? 0 : (unsigned long long)s;
    char text[512];
    snprintf(text, sizeof text, "%s\t%llu\t%s", kind, number, name.c_str());
    std::lock_guard<std::recursive_mutex> hold(registry);
    traced.push_back(text);
}

Stream *stream_of(const void *handle) {
    if (handle == nullptr || handle == (void *)1) return &null_stream;
    if (handle == (void *)2) return &thread_stream;
    std::lock_guard<std::recursive_mutex> hold(registry);
    auto it = streams.find((Stream *)handle);
    return it == streams.end() ? nullptr : *it;
}

int refuse_legacy(Stream *s, bool only_asked) {
    if (s != &null_stream || captures.empty()) return OK;
    int status = OK;
    for (auto &[id, capture] : captures)
        if (!(capture->origin->flags & 1)) {
            capture->invalid |= !only_asked;
            status = CAPTURE_IMPLICIT;
        }
    return status;
}

int refuse_unsafe() {
    std::lock_guard<std::recursive_mutex> hold(registry);
    int status = OK;
    for (auto &[id, capture] : captures)
        if (capture->mode == 0 || (capture->mode == 1 && capture->thread == this_thread())) {
            capture->invalid = true;
            status = CAPTURE_UNSUPPORTED;
        }
    return status;
}

// In modes 2 and 3 some streams work as soon as what they wait for lets them.
static int run_eager() {
    bool any = modes.deferred > 1;
    int status = OK;
    while (any) {
        any = false;
        for (Stream *s : all_streams()) {
            if ((s == &null_stream) != (modes.deferred == 2)) continue;
            std::unique_lock<std::recursive_mutex> hold(registry);
            if (s->queue.empty()) continue;
            const Queued &next = s->queue.front();
            if (next.event && next.event->done < next.recording) continue;
            const uint64_t ticket = next.ticket;
            hold.unlock();
            if (int e = drain(s, ticket)) status = e;
            any = true;
        }
    }
    return status;
}

int submit(Stream *s, const char *kind, const std::string &name, Work run, const Event *event, uint64_t recording) {
    if (s == nullptr) return INVALID_HANDLE;
    {
        std::lock_guard<std::recursive_mutex> hold(registry);
        if (!active) return NO_DEVICE;
        if (Capture *capture = s->capture) {
            if (capture->invalid) return CAPTURE_INVALIDATED;
            capture->graph.nodes.push_back({kind, name, std::move(run)});
            capture->work[s] += 1;
            return OK;
        }
        if (int e = refuse_legacy(s)) return e;
        note(kind, name, s);
        if (modes.deferred) s->queue.push_back({++last_ticket, std::move(run), event, recording});
    }
    if (modes.deferred) return run_eager();
    std::lock_guard<std::recursive_mutex> hold(device);
    return run();
}

int drain(Stream *s, uint64_t ticket) {
    int status = OK;
    std::lock_guard<std::recursive_mutex> alone(device);
    while (true) {
        Queued next;
        {
            std::lock_guard<std::recursive_mutex> hold(registry);
            if (s->queue.empty() || s->queue.front().ticket > ticket) return status;
            next = std::move(s->queue.front());
            s->queue.pop_front();
        }
        if (int e = drain_before(s, next.ticket)) status = e;
        if (int e = next.run()) status = e;
    }
}

int drain_all() {
    int status = OK;
    for (Stream *s : all_streams())
        if (int e = drain(s)) status = e;
    return status;
}

int synchronize(Stream *s) {
    if (s == nullptr) return INVALID_HANDLE;
    {
        std::lock_guard<std::recursive_mutex> hold(registry);
        if (!active) return NO_DEVICE;
        if (s->capture) {
            s->capture->invalid = true;
            return CAPTURE_UNSUPPORTED;
        }
        if (int e = refuse_legacy(s)) return e;
        counters[WAITS]++;
        note("wait for stream", "", s);
    }
    if (s == &null_stream)  // which waits for all blocking streams
        if (int e = drain_before(s, ~0ull)) return e;
    return drain(s);
}

int synchronize_device() {
    {
        std::lock_guard<std::recursive_mutex> hold(registry);
        if (!active) return NO_DEVICE;
        if (!captures.empty()) {
            for (auto &[id, capture] : captures) capture->invalid = true;
            return CAPTURE_UNSUPPORTED;
        }
        counters[WAITS]++;
        note("wait for device", "", &null_stream);
    }
    return drain_all();
}

// ---- streams and events as CuPy has them --------------------------------------------------------

int create_stream(void **out, unsigned flags, int priority) {
    if (!active) return NO_DEVICE;
    auto *made = new Stream;
    made->flags = flags;
    made->priority = priority < -5 ? -5 : priority > 0 ? 0 : priority;
    std::lock_guard<std::recursive_mutex> hold(registry);
    streams.insert(made);
    *out = made;
    return OK;
}

int destroy_stream(void *handle) {
    Stream *s = stream_of(handle);
    if (s == nullptr || !streams.count(s)) return INVALID_HANDLE;
    const int status = drain(s);
    std::lock_guard<std::recursive_mutex> hold(registry);
    streams.erase(s);
    if (Capture *capture = s->capture) {
        capture->invalid = true;
        if (capture->origin == s) {  // nobody can end it any more
            for (auto &[stream, count] : capture->work) stream->capture = nullptr;
            captures.erase(capture->id);
            delete capture;
        }
    }
    return status;  // the object stays: a capture, an event or a handle of cuBLAS may name it
}

// Whether all is done; the first question sets a deferred stream going, so that polling ends.
int query_stream(Stream *s) {
    if (s == nullptr) return INVALID_HANDLE;
    {
        std::lock_guard<std::recursive_mutex> hold(registry);
        if (s->capture) {
            s->capture->invalid = true;
            return CAPTURE_UNSUPPORTED;
        }
        if (int e = refuse_legacy(s)) return e;
        if (s->queue.empty()) return OK;
    }
    const int status = drain(s);
    return status ? status : NOT_READY;
}

int create_event(void **out, unsigned flags) {
    if (!active) return NO_DEVICE;
    auto *made = new Event;
    made->flags = flags;
    std::lock_guard<std::recursive_mutex> hold(registry);
    events.insert(made);
    *out = made;
    return OK;
}

static Event *event_of(void *handle) {
    auto it = events.find((Event *)handle);
    return it == events.end() ? nullptr : *it;
}

int destroy_event(void *handle) {
    std::lock_guard<std::recursive_mutex> hold(registry);
    return events.erase((Event *)handle) ? OK : INVALID_HANDLE;  // work in a queue may still set it
}

int record_event(void *handle, Stream *s) {
    if (s == nullptr) return INVALID_HANDLE;
    Event *event;
    uint64_t ticket;
    {
        std::lock_guard<std::recursive_mutex> hold(registry);
        event = event_of(handle);
        if (event == nullptr) return INVALID_HANDLE;
        event->stream = s;
        if (Capture *capture = s->capture) {
            if (capture->invalid) return CAPTURE_INVALIDATED;
            event->capture = capture->id;
            event->mark = capture->work[s];
            event->recorded = true;
            return OK;
        }
        if (int e = refuse_legacy(s)) return e;
        event->capture = 0;
        event->recorded = true;
        event->ticket = ticket = last_ticket + 1;
    }
    return submit(s, "record", "", [=] {
        event->done = ticket;
        event->time = now();
        return (int)OK;
    });
}

static int captured(Event *event) {
    auto it = captures.find(event->capture);
    if (it != captures.end()) it->second->invalid = true;
    return CAPTURED_EVENT;
}

int query_event(void *handle) {
    std::unique_lock<std::recursive_mutex> hold(registry);
    Event *event = event_of(handle);
    if (event == nullptr) return INVALID_HANDLE;
    if (event->capture) return captured(event);
    if (!event->recorded || event->done >= event->ticket || !modes.deferred) return OK;
    hold.unlock();
    const int status = drain(event->stream, event->ticket);
    return status ? status : NOT_READY;
}

int synchronize_event(void *handle) {
    std::unique_lock<std::recursive_mutex> hold(registry);
    Event *event = event_of(handle);
    if (event == nullptr) return INVALID_HANDLE;
    counters[WAITS]++;
    note("wait for event", "", event->stream ? event->stream : &null_stream);
    if (event->capture) return captured(event);
    if (!event->recorded) return OK;
    hold.unlock();
    return drain(event->stream, event->ticket);
}

int elapsed_time(float *milliseconds, void *start, void *end) {
    std::lock_guard<std::recursive_mutex> hold(registry);
    Event *a = event_of(start), *b = event_of(end);
    for (Event *event : {a, b}) {
        if (event == nullptr || !event->recorded || (event->flags & 2) || event->capture) return INVALID_HANDLE;
        if (modes.deferred && event->done < event->ticket) return NOT_READY;
    }
    *milliseconds = (float)(b->time - a->time);
    return OK;
}

// Joins the stream to the capture that the event belongs to, or waits.
int wait_event(Stream *s, void *handle) {
    if (s == nullptr) return INVALID_HANDLE;
    std::unique_lock<std::recursive_mutex> hold(registry);
    Event *event = event_of(handle);
    if (event == nullptr) return INVALID_HANDLE;
    auto it = captures.find(event->capture);
    if (Capture *capture = event->capture && it != captures.end() ? it->second : nullptr) {
        if (capture->invalid) return CAPTURE_INVALIDATED;
        if (s->capture == nullptr) {
            if (int e = refuse_legacy(s)) return e;
            s->capture = capture;
            capture->work[s] = 0;
            capture->joined[s] = -1;
        } else if (s->capture != capture) {
            capture->invalid = s->capture->invalid = true;
            return CAPTURE_MERGE;
        }
        long &joined = capture->joined[event->stream];
        if (event->stream != s && joined < event->mark) joined = event->mark;
        return OK;
    }
    if (event->capture || (s->capture && event->recorded)) {  // of a capture that ended; of none
        if (s->capture) s->capture->invalid = true;
        return event->capture ? CAPTURED_EVENT : CAPTURE_ISOLATION;
    }
    if (!event->recorded || s->capture) return note("wait", "", s), OK;
    Stream *other = event->stream;
    const uint64_t ticket = event->ticket;
    hold.unlock();
    return submit(s, "wait", "", [=] { return drain(other, ticket); }, event, ticket);
}

// ---- captures and graphs ------------------------------------------------------------------------

int begin_capture(Stream *s, int mode) {
    static uint64_t last;
    if (s == nullptr) return INVALID_HANDLE;
    if (!active) return NO_DEVICE;
    std::lock_guard<std::recursive_mutex> hold(registry);
    if (s == &null_stream) return CAPTURE_UNSUPPORTED;
    if (s->capture) return ILLEGAL_STATE;
    auto *capture = new Capture{++last, s, mode, this_thread()};
    capture->work[s] = 0;
    s->capture = captures[capture->id] = capture;
    return OK;
}

int end_capture(Stream *s, void **graph) {
    *graph = nullptr;
    if (s == nullptr) return INVALID_HANDLE;
    std::lock_guard<std::recursive_mutex> hold(registry);
    Capture *capture = s->capture;
    if (capture == nullptr) return ILLEGAL_STATE;
    if (capture->mode != 2 && capture->thread != this_thread()) return CAPTURE_WRONG_THREAD;
    if (capture->origin != s) {
        capture->invalid = true;
        return CAPTURE_UNMATCHED;
    }
    bool unjoined = false;
    for (auto &[stream, count] : capture->work) {
        stream->capture = nullptr;
        if (stream != s && capture->joined[stream] != count) unjoined = true;
    }
    captures.erase(capture->id);
    std::unique_ptr<Capture> owned(capture);
    if (capture->invalid) return CAPTURE_INVALIDATED;
    if (unjoined) return CAPTURE_UNJOINED;
    *graph = new Graph(std::move(capture->graph));
    return OK;
}

int capture_state(Stream *s, int *state) {  // 0 none, 1 active, 2 invalidated
    if (s == nullptr) return INVALID_HANDLE;
    std::lock_guard<std::recursive_mutex> hold(registry);
    if (int e = refuse_legacy(s, true)) return e;
    *state = s->capture == nullptr ? 0 : s->capture->invalid ? 2 : 1;
    return OK;
}

int launch_graph(Graph *graph, Stream *s) {
    if (s != nullptr && s->capture) {  // part of the graph that is being recorded
        for (const Node &node : graph->nodes)
            if (int e = submit(s, node.kind, node.name, node.run)) return e;
        return OK;
    }
    counters[GRAPHS]++;
    for (const Node &node : graph->nodes) counters[IN_GRAPHS] += std::string(node.kind) == "kernel";
    auto nodes = std::make_shared<std::vector<Node>>(graph->nodes);  // the graph may be gone by then
    return submit(s, "graph", "", [=] {
        for (const Node &node : *nodes)
            if (int e = node.run()) return e;
        return (int)OK;
    });
}

int print_graph(const Graph &graph, const char *path, unsigned flags) {
    FILE *file = fopen(path, "w");
    if (file == nullptr) return INVALID_VALUE;
    fprintf(file, "digraph dot {\n");
    if (flags & 1) fprintf(file, "// each node: what it is, and its name\n");
    for (size_t i = 0; i < graph.nodes.size(); ++i)
        fprintf(file, "\"%zu\" [label=\"%s: %s\"];\n", i, graph.nodes[i].kind, graph.nodes[i].name.c_str());
    for (size_t i = 1; i < graph.nodes.size(); ++i) fprintf(file, "\"%zu\" -> \"%zu\";\n", i - 1, i);
    fprintf(file, "}\n");
    fclose(file);
    return OK;
}

}  // namespace sim

// ---- the trace: a line for each piece of work, recording and wait -----------------------------

API void sim_trace(int on) {
    sim::tracing = on;
    sim::traced.clear();
}
API const char *sim_traced() {
    static std::string all;
    all.clear();
    std::lock_guard<std::recursive_mutex> hold(sim::registry);
    for (const std::string &line : sim::traced) all += line + "\n";
    return all.c_str();
}
