// Whether all is finite: `bad` becomes 1 where one is infinite or nan, and stays as it is otherwise.
// Several models have `size` elements each, and a `bad` of their own.
// in:  T x
// numbers: int64 size
// out: raw int32 bad
if (x - x != T(0)) bad[i / size] = 1;
