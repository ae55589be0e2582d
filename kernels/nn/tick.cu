// The counters go on: what was `next` is `now` from here on, and `next` what the batch that begins
// here leaves to the one behind it. (kernels/nn/softmax_loss.cu writes the same `next`.)
// in:  int64 passed
// out: int64 now, int64 next
now = next;
next = now + passed;
