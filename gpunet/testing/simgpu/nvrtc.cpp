// NVRTC: a program is handed to compiler.py, which gives the file of a shared object for it.
#include "python_api.h"

namespace sim {
namespace {
struct Program {
    std::string source, name, log, image;
    std::vector<std::string> headers, header_names, expressions;
    std::map<std::string, std::string> lowered;
};
PyObject *compiler;  // library.py's

enum { NAME_NOT_VALID = 10, INTERNAL = 11 };

PyObject *list_of(const std::vector<std::string> &texts) {
    PyObject *list = PyList_New(0);
    for (const std::string &text : texts) {
        PyObject *one = Py_BuildValue("s", text.c_str());
        PyList_Append(list, one);
        Py_DecRef(one);
    }
    return list;
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
API void sim_set_compiler(PyObject *function) { Py_IncRef(sim::compiler = function); }

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
    const int state = PyGILState_Ensure();
    PyObject *made = PyObject_CallFunction(sim::compiler, "sNNNN", p->source.c_str(), sim::list_of(p->header_names), sim::list_of(p->headers),
                                           sim::list_of({options, options + count}), sim::list_of(p->expressions));
    int status = sim::INTERNAL;
    std::string path;
    if (made) {
        status = (int)PyLong_AsLong(PyTuple_GetItem(made, 0));
        path = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(made, 1), nullptr);
        p->log = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(made, 2), nullptr);
        Py_DecRef(made);
    } else {
        PyErr_WriteUnraisable(sim::compiler);
    }
    PyGILState_Release(state);
    if (status) return status;
    if (!sim::read_file(path.c_str(), p->image)) return sim::INTERNAL;
    return p->expressions.empty() || sim::find_names(p, path.c_str()) ? 0 : sim::INTERNAL;
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
