// The mean cross entropy of softmax(z + b) and labels with smoothing e, q = (1 - e) [label] + e / C:
//     loss = mean over rows of -sum(q log softmax),   dz = share / rows * (softmax - q)
// with db, the sums of dz's columns; and hits, how many rows are largest first at their label. A label
// out of range makes loss and row a nan. With an order the batch is the epoch's n-th: its loss and
// hits become element n of theirs, and the clock is set to what the next batch will find.
//
// Each warp takes a row. With one chunk of rows all is one launch, parts = 3. Else the first launch,
// parts = 1, leaves its sums in scratch[chunk, columns + 2], the loss and the hits behind those of
// the columns, and the second, parts = 2, adds them up.
#include "nn/columns.cuh"
#include "nn/loss.cuh"
// threads: 32, 32
// in:  T* z, T* b, int64* labels, int64* order, int64 rows, int64 columns, T smoothing, T share,
//      int32 add, int32 ends_update, int32 parts, int64 chunks
// out: T* dz, T* db, float64* losses, int64* hits, T* scratch, int64* clock
const Rows own = rows_of_chunk(blockIdx.y, rows);
const int lane = threadIdx.x;
const long long batch = order ? clock[3] : 0;
T loss = T(0), right = T(0);

if (parts & 1) {
    for (long long row = own.first + threadIdx.y; row < own.last; row += 32) {
        const long long label = labels[order ? order[clock[2] + row] : row];
        const Logits<T> logits{z + row * columns, b, (int)columns};
        const Row<T> found = row_loss(logits, label, smoothing);
        loss += found.loss;
        right += T(found.best == label);
        __syncwarp();  // all lanes have read what they need of z, which dz may be
        const T factor = found.valid ? share / T(rows) : found.loss;  // or nan
        for (int c = lane; c < columns; c += 32) {
            const T q = smoothing / T(columns) + (c == label ? T(1) - smoothing : T(0));
            dz[row * columns + c] = factor * (exp(logits[c] - found.top) / found.total - q);
        }
    }
}
// The sums down the columns: a thread adds what it has written itself. Column `columns` is the loss,
// the one behind it the hits.
for (long long first = 32LL * blockIdx.x; first < columns + 2; first += 32LL * gridDim.x) {
    const long long c = first + lane;
    T sum = T(0);
    if (parts == 2) {
        for (long long k = threadIdx.y; c < columns + 2 && k < chunks; k += 32)
            sum += scratch[k * (columns + 2) + c];
    } else if (c < columns) {
        for (long long row = own.first + threadIdx.y; row < own.last; row += 32)
            sum += dz[row * columns + c];
    } else {
        sum = c == columns ? loss : right;
    }
    sum = sum_down(sum);
    if (threadIdx.y > 0 || c >= columns + 2) continue;
    if (parts == 1) {
        scratch[blockIdx.y * (columns + 2) + c] = sum;
    } else if (c == columns) {
        losses[batch] = double(sum / T(rows));
    } else if (c > columns) {
        hits[batch] = (long long)sum;
    } else if (db) {
        db[c] = add ? db[c] + sum : sum;
    }
}
if (order && parts > 1 && blockIdx.x == 0 && threadIdx.x == 0 && threadIdx.y == 0) {
    clock[4] = clock[0] + ends_update;
    clock[5] = clock[1] + 1;
    clock[6] = clock[2] + rows;
    clock[7] = clock[3] + 1;
}
