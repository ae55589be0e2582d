// Back through embedding.cu: dW[row] is the sum of gy over all places of that row's index, where dW
// was 0. The first place of each index adds up the later ones, from first to last: nothing is atomic,
// and the result is the same bit for bit in every run. A thread takes one column of one place and
// looks at all indices, which a batch has few of; how many categories there are does not matter.
// threads: 256
// in:  int64* index, T* gy
// numbers: int64 places, int64 categories, int64 width
// out: T* dW
const long long i = 256LL * blockIdx.x + threadIdx.x, place = i / width;
if (place >= places) return;
const long long row = index[place];
if (row < 0 || row >= categories) return;
for (long long k = 0; k < place; ++k)
    if (index[k] == row) return;
T sum = T(0);
for (long long k = place; k < places; ++k)
    if (index[k] == row) sum += gy[k * width + i % width];
dW[row * width + i % width] = sum;
