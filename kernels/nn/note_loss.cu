// A batch's loss, among those of the epoch's batches.
#include "counters.cuh"
// in:  T loss, raw int64 counters
// out: raw float64 losses
losses[counters[BATCH]] = double(loss);
