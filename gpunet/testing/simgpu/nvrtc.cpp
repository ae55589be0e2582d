// NVRTC: a program is handed to compiler.py, which gives the file of a shared object for it.

namespace sim {
namespace {
struct Program {
    std::string source, name, log, image;
    std::vector<std::string> headers, header_names, expressions;
    std::map<std::string, std::string> lowered;
};
struct Request {  // as compiler.py reads it
    const char *source, *name;
    int header_count;
    const char *const *headers, *const *header_names;
    int option_count;
    const char *const *options;
    int expression_count;
    const char *const *expressions;
    char path[4096];
    char *log;
    size_t log_bytes;
};
int (*compile)(Request *);

enum { COMPILATION = 6, NAME_NOT_VALID = 10, INTERNAL = 11 };

std::vector<const char *> pointers(const std::vector<std::string> &texts) {
    std::vector<const char *> all;
    for (const std::string &text : texts) all.push_back(text.c_str());
    all.push_back(nullptr);
    return all;
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
// The symbols of the kernels and variables that the expressions name.
bool find_names(Program *p, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const auto *named = library ? (void *const *)dlsym(library, "simgpu_named") : nullptr;
    if (named == nullptr) return false;
    for (size_t i = 0; i < p->expressions.size(); ++i) {
        Dl_info info;
        if (dladdr(named[i], &info) && info.dli_sname) p->lowered[p->expressions[i]] = info.dli_sname;
    }
    dlclose(library);
    return true;
}
int copied(const std::string &text, char *out) { return memcpy(out, text.c_str(), text.size() + 1), 0; }
}  // namespace
}  // namespace sim

using sim::Program;
API void sim_set_compiler(int (*function)(sim::Request *)) { sim::compile = function; }

API const char *nvrtcGetErrorString(int status) {
    static const char *const names[] = {"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE",
        "NVRTC_ERROR_INVALID_INPUT", "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION",
        "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE", "NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION",
        "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION", "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID", "NVRTC_ERROR_INTERNAL_ERROR"};
    return status >= 0 && status < 12 ? names[status] : "NVRTC_ERROR unknown";
}
API int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, 0; }
API int nvrtcGetNumSupportedArchs(int *count) { return *count = 3, 0; }
API int nvrtcGetSupportedArchs(int *archs) { return archs[0] = 75, archs[1] = 80, archs[2] = 90, 0; }
API int nvrtcCreateProgram(Program **out, const char *source, const char *name, int count, const char *const *headers, const char *const *names) {
    *out = new Program{source, name && *name ? name : "kernel.cu", "", "", {}, {}, {}, {}};
    (*out)->headers.assign(headers, headers + count);
    (*out)->header_names.assign(names, names + count);
    return 0;
}
API int nvrtcDestroyProgram(Program **p) { return delete *p, *p = nullptr, 0; }
API int nvrtcAddNameExpression(Program *p, const char *expression) { return p->expressions.push_back(expression), 0; }
API int nvrtcCompileProgram(Program *p, int count, const char *const *options) {
    std::vector<char> log(1 << 20);
    const auto headers = sim::pointers(p->headers), names = sim::pointers(p->header_names), expressions = sim::pointers(p->expressions);
    sim::Request request{p->source.c_str(), p->name.c_str(), (int)p->headers.size(), headers.data(), names.data(), count, options,
                         (int)p->expressions.size(), expressions.data(), {0}, log.data(), log.size()};
    const int status = sim::compile ? sim::compile(&request) : (int)sim::INTERNAL;
    p->log = log.data();
    if (status) return status;
    if (!sim::read_file(request.path, p->image)) return sim::INTERNAL;
    return p->expressions.empty() || sim::find_names(p, request.path) ? 0 : sim::INTERNAL;
}
API int nvrtcGetLoweredName(Program *p, const char *expression, const char **name) {
    auto it = p->lowered.find(expression);
    if (it == p->lowered.end()) return sim::NAME_NOT_VALID;
    *name = it->second.c_str();
    return 0;
}
API int nvrtcGetCUBINSize(Program *p, size_t *bytes) { return *bytes = p->image.size(), 0; }
API int nvrtcGetCUBIN(Program *p, char *out) { return memcpy(out, p->image.data(), p->image.size()), 0; }
API int nvrtcGetPTXSize(Program *p, size_t *bytes) { return *bytes = p->image.size() + 1, 0; }
API int nvrtcGetPTX(Program *p, char *out) { return sim::copied(p->image, out); }
API int nvrtcGetLTOIRSize(Program *, size_t *bytes) { return *bytes = 0, 3; }
API int nvrtcGetLTOIR(Program *, char *) { return 3; }
API int nvrtcGetProgramLogSize(Program *p, size_t *bytes) { return *bytes = p->log.size() + 1, 0; }
API int nvrtcGetProgramLog(Program *p, char *out) { return sim::copied(p->log, out); }
