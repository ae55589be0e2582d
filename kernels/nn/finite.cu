// Whether all is finite: `bad` becomes 1 where one is infinite or nan, and stays as it is otherwise.
// in:  T x
// out: raw int32 bad
if (x - x != T(0)) bad[0] = 1;
