// The rows of W that the indices name; nan for one that is out of range.
// in:  raw int64 index, raw T W
// numbers: int64 categories, int64 width
// out: T y
const long long row = index[i / width];
y = 0 <= row && row < categories ? W[row * width + i % width] : T(0) / T(0);
