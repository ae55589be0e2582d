// Loss (summed over rows) and gradient of softmax cross-entropy, one block a row; one number a
// thread of dynamic shared memory.
template <typename T>
__device__ T block_reduce(T *buffer, T value, bool maximum) {
    buffer[threadIdx.x] = value;
    __syncthreads();  // values written
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            const T other = buffer[threadIdx.x + half];
            buffer[threadIdx.x] = maximum ? max(buffer[threadIdx.x], other)
                                          : buffer[threadIdx.x] + other;
        }
        __syncthreads();  // halves folded
    }
    value = buffer[0];
    __syncthreads();  // result read
    return value;
}

template <typename T>
__global__ void softmax_cross_entropy(const T *logits, const int *labels, T *gradient, T *loss,
                                      int classes) {
    extern __shared__ __align__(16) unsigned char memory[];
    T *buffer = reinterpret_cast<T *>(memory);
    const size_t start = (size_t)blockIdx.x * classes;
    T highest = logits[start];
    for (int c = threadIdx.x; c < classes; c += blockDim.x)
        highest = max(highest, logits[start + c]);
    highest = block_reduce(buffer, highest, true);
    T sum = 0;
    for (int c = threadIdx.x; c < classes; c += blockDim.x)
        sum += exp(logits[start + c] - highest);
    sum = block_reduce(buffer, sum, false);
    const int label = labels[blockIdx.x];
    for (int c = threadIdx.x; c < classes; c += blockDim.x)
        gradient[start + c] = exp(logits[start + c] - highest) / sum - T(c == label);
    if (threadIdx.x == 0) atomicAdd(loss, log(sum) + highest - logits[start + label]);
}
