// The few functions of Python that are called. They are declared, not included: they belong to its
// stable interface, and so one library serves every Python.
#pragma once
extern "C" {
typedef struct _object PyObject;
typedef struct _ts PyThreadState;
extern PyObject _Py_NoneStruct;
extern PyObject *PyExc_RuntimeError;
void Py_IncRef(PyObject *);
void Py_DecRef(PyObject *);
PyObject *Py_BuildValue(const char *, ...);
PyObject *PyObject_CallFunction(PyObject *, const char *, ...);
PyObject *PyObject_GetAttrString(PyObject *, const char *);
int PyObject_SetAttrString(PyObject *, const char *, PyObject *);
PyObject *PyList_New(ptrdiff_t);
int PyList_Append(PyObject *, PyObject *);
PyObject *PyTuple_GetItem(PyObject *, ptrdiff_t);
const char *PyUnicode_AsUTF8AndSize(PyObject *, ptrdiff_t *);
void PyErr_SetObject(PyObject *, PyObject *);
void PyErr_SetString(PyObject *, const char *);
void PyErr_WriteUnraisable(PyObject *);
PyThreadState *PyEval_SaveThread();
void PyEval_RestoreThread(PyThreadState *);
int PyGILState_Ensure();
void PyGILState_Release(int);
long PyLong_AsLong(PyObject *);
unsigned long long PyLong_AsUnsignedLongLong(PyObject *);
PyObject *PyNumber_Long(PyObject *);
PyObject *PyErr_Occurred();
}
