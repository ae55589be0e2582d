// How good logits are: found[0] is the mean cross entropy of softmax(z + b) and labels with smoothing,
// as in softmax_loss.cu, found[1] the number of rows whose largest logit is their label's. A label out
// of range makes the loss a nan. Nothing else is written.
//
// A warp takes a row, of few columns 2 or 4 at once, and a block leaves its rows' loss and hits in
// scratch[chunk, 2]; the last block to be done adds them up, in an order that does not depend on which
// it is. Of several models blockIdx.z tells which; `apart` leads from one's b to the next one's,
// `found_apart` from one's result to the next one's, and the labels are the same for all.
#include "nn/columns.cuh"
#include "nn/loss.cuh"
// threads: 32, 32
// in:  T* z, T* b, int64* labels
// numbers: int64 rows, int64 columns, int64 apart, int64 found_apart, T smoothing
// out: float64* found, T* scratch, uint32* arrived
const Rows own = rows_of_chunk(blockIdx.y, rows);
const Lanes lanes = lanes_for(columns);
const int count = (int)own.count(), lane = threadIdx.x;
const long long model = blockIdx.z, first_chunk = model * gridDim.y;  // in scratch
T loss = T(0), hits = T(0);
for (int k = threadIdx.y * (32 / lanes.count); k < count; k += 1024 / lanes.count) {
    const bool mine = k + lanes.row < count;  // else the last row again, for all lanes must call
    const long long row = own.first + min(k + lanes.row, count - 1), label = labels[row];
    const T *const own_b = b ? b + model * apart : b;
    const Logits<T> logits{z + (model * rows + row) * columns, own_b, (int)columns};
    const Row<T> of_row = row_loss(logits, label, smoothing, lanes.count);
    const bool hit = first_largest(logits, of_row.top, lanes.count) == label;
    if (mine) loss += of_row.loss;
    if (mine) hits += T(hit);
}
loss = warp_sum(loss, lanes.count);
hits = warp_sum(hits, lanes.count);
T sum = sum_down<32>(lane == 0 ? loss : hits);  // 0 adds up the loss, 1 the hits
if (threadIdx.y == 0 && lane < 2) scratch[2 * (first_chunk + blockIdx.y) + lane] = sum;
if (!is_last(arrived + model)) return;
sum = T(0);
for (long long k = threadIdx.y; lane < 2 && k < gridDim.y; k += 32)
    sum += __ldcg(&scratch[2 * (first_chunk + k) + lane]);
sum = sum_down<32>(sum);
if (threadIdx.y == 0 && lane < 2) found[model * found_apart + lane] = double(lane == 0 ? sum / T(rows) : sum);
