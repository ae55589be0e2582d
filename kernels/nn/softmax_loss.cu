// The mean cross entropy of softmax(z + b) and labels with smoothing e, q = (1 - e) [label] + e / C:
//     loss = mean over rows of -sum(q log softmax),   z becomes share / rows * (softmax - q)
// with db, the sums of that down the columns. A label out of range makes loss and row a nan. With an
// order the batch is the epoch's n-th: its loss becomes element n, and the counters are set to what
// the next batch will find.
//
// Each warp takes a row. With one chunk of rows all is one launch, parts = 3. Else the first launch,
// parts = 1, leaves its sums in scratch[chunk, columns + 1], the loss behind those of the columns,
// and the second, parts = 2, adds them up.
#include "counters.cuh"
#include "nn/columns.cuh"
#include "nn/loss.cuh"
// threads: 32, 32
// in:  T* b, int64* labels, int64* order
// numbers: int64 rows, int64 columns, T smoothing, T share, int32 add, int32 ends_update,
//      int32 parts, int64 chunks
// out: T* z, T* db, float64* losses, T* scratch, int64* counters
const Rows own = rows_of_chunk(blockIdx.y, rows);
const int lane = threadIdx.x;
const long long batch = order ? counters[BATCH] : 0;
T loss = T(0);

if (parts & 1) {
    for (long long row = own.first + threadIdx.y; row < own.last; row += 32) {
        const long long label = labels[order ? order[counters[ROW] + row] : row];
        const Logits<T> logits{z + row * columns, b, (int)columns};
        const Row<T> found = row_loss(logits, label, smoothing);
        loss += found.loss;
        __syncwarp();  // all lanes have read what they need of z
        const T factor = found.valid ? share / T(rows) : found.loss;  // or nan
        for (int c = lane; c < columns; c += 32)
            z[row * columns + c] = factor * row_gradient(logits, found, c, label, smoothing);
    }
}
// The sums down the columns: a thread adds what it has written itself. Column `columns` is the loss.
for (long long first = 32LL * blockIdx.x; first < columns + 1; first += 32LL * gridDim.x) {
    const long long c = first + lane;
    T sum = T(0);
    if (parts == 2) {
        for (long long k = threadIdx.y; c < columns + 1 && k < chunks; k += 32)
            sum += scratch[k * (columns + 1) + c];
    } else if (c < columns) {
        for (long long row = own.first + threadIdx.y; row < own.last; row += 32)
            sum += z[row * columns + c];
    } else {
        sum = loss;
    }
    sum = sum_down(sum);
    if (threadIdx.y > 0 || c >= columns + 1) continue;
    if (parts == 1) {
        scratch[blockIdx.y * (columns + 1) + c] = sum;
    } else if (c == columns) {
        losses[batch] = double(sum / T(rows));
    } else if (db) {
        db[c] = add ? db[c] + sum : sum;
    }
}
if (order && parts > 1 && blockIdx.x == 0 && threadIdx.x == 0 && threadIdx.y == 0) {
    counters[NEXT + UPDATE] = counters[UPDATE] + ends_update;
    counters[NEXT + CALL] = counters[CALL] + 1;
    counters[NEXT + ROW] = counters[ROW] + rows;
    counters[NEXT + BATCH] = counters[BATCH] + 1;
}
