// The mean cross entropy of softmax(z + b) and labels with smoothing e, q = (1 - e) [label] + e / C:
//     loss = mean over rows of -sum(q log softmax),   z becomes share / rows * (softmax - q)
// with db, the sums of that down the columns. A label out of range makes loss and row a nan. With an
// order the batch is the epoch's n-th: its loss becomes element n, and the counters are set to what
// the next batch will find.
//
// A warp takes a row, of few columns 2 or 4 at once, and a block leaves its rows' sums in
// scratch[chunk, columns + 1], the loss behind those of the columns. In one launch, parts = 3, the
// last block to be done adds them up. Of many columns the second launch does, parts = 2, after the
// first, parts = 1. The order of adding is the same whichever block is last.
//
// turn: from one model's order, or its labels without one, to the next one's; 0 where all have the same.
#include "counters.cuh"
#include "nn/columns.cuh"
#include "nn/loss.cuh"
// threads: 32, 32
// in:  T* b, int64* labels, int64* order
// numbers: int64 rows, int64 columns, int64 apart, int64 turn, int64 losses_apart, T smoothing,
//      T share, int32 add, int32 ends_update, int32 parts, int64 chunks
// out: T* z, T* db, float64* losses, T* scratch, uint32* arrived, int64* counters
const Rows own = rows_of_chunk(blockIdx.y, rows);
const int lane = threadIdx.x;
const Lanes lanes = lanes_for(columns);
const int count = (int)own.count(), stride = 1024 / lanes.count;
const int first_row = threadIdx.y * (32 / lanes.count);  // of this warp
const long long model = blockIdx.z, first_chunk = model * chunks;  // in scratch
T loss = T(0);

if (parts & 1) {
    for (int k = first_row; k < count; k += stride) {
        const bool mine = k + lanes.row < count;  // else the last row again, for all lanes must call
        const long long row = own.first + min(k + lanes.row, count - 1);
        const long long place = model * turn + row;
        const long long label = labels[order ? order[counters[ROW] + place] : place];
        T *const own_z = z + (model * rows + row) * columns;
        const Logits<T> logits{own_z, b ? b + model * apart : b, (int)columns};
        const Row<T> found = row_loss(logits, label, smoothing, lanes.count);
        if (mine) loss += found.loss;
        __syncwarp();  // all lanes have read what they need of z
        const T factor = found.valid ? share / T(rows) : found.loss;  // or nan
        for (int c = lanes.lane; mine && c < columns; c += lanes.count)
            own_z[c] = factor * row_gradient(logits, found, c, label, smoothing);
    }
}
// The sums down the columns: a thread adds what it has written itself. Column `columns` is the loss.
const long long wide = columns + 1;
if (parts & 1) {
    loss = warp_sum(loss, lanes.count);
    for (long long first = 0; first < wide; first += 32) {
        T sum = T(0);
        const long long c = first + lane, own_column = first + lanes.lane;
        for (int k = first_row + lanes.row; own_column < columns && k < count; k += stride)
            sum += z[(model * rows + own.first + k) * columns + own_column];
        sum = warp_sum(sum, lanes.count);
        sum = sum_down<32>(c == columns ? loss : sum);
        if (threadIdx.y == 0 && c < wide) scratch[(first_chunk + blockIdx.y) * wide + c] = sum;
    }
    if (parts == 1 || !is_last(arrived + model)) return;
}
for (long long first = 32LL * blockIdx.x; first < wide; first += 32LL * gridDim.x) {
    const long long c = first + lane;
    T sum = T(0);
    for (long long k = threadIdx.y; c < wide && k < chunks; k += 32)
        sum += __ldcg(&scratch[(first_chunk + k) * wide + c]);
    sum = sum_down<32>(sum);
    if (threadIdx.y > 0 || c >= wide) continue;
    if (c == columns) {
        losses[model * losses_apart + (order ? counters[BATCH] : 0)] = double(sum / T(rows));
    } else if (db) {
        T &own_db = db[model * apart + c];
        own_db = add ? own_db + sum : sum;
    }
}
if (order && blockIdx.x == 0 && model == 0 && threadIdx.x == 0 && threadIdx.y == 0) {
    counters[NEXT + UPDATE] = counters[UPDATE] + ends_update;
    counters[NEXT + CALL] = counters[CALL] + 1;
    counters[NEXT + ROW] = counters[ROW] + rows;
    counters[NEXT + BATCH] = counters[BATCH] + 1;
}
