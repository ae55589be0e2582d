// A batch's loss, among those of the epoch's batches.
// in:  T loss, raw int64 clock
// out: raw float64 losses
losses[clock[3]] = double(loss);
