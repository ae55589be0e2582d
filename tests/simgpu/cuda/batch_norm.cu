// Training-mode BatchNorm of x (rows, columns), one block a column: sums by warp shuffles, then
// through shared memory.
template <typename T>
__device__ T block_sum(T value) {
    __shared__ T sums[32];
    const int lane = threadIdx.x % warpSize, warp = threadIdx.x / warpSize;
    for (int offset = warpSize / 2; offset > 0; offset /= 2)
        value += __shfl_down_sync(0xffffffff, value, offset);
    if (lane == 0) sums[warp] = value;
    __syncthreads();  // sums written
    if (warp == 0) {
        value = lane < blockDim.x / warpSize ? sums[lane] : T(0);
        for (int offset = warpSize / 2; offset > 0; offset /= 2)
            value += __shfl_down_sync(0xffffffff, value, offset);
        if (lane == 0) sums[0] = value;
    }
    __syncthreads();  // total written
    value = sums[0];
    __syncthreads();  // total read
    return value;
}

template <typename T>
__global__ void __launch_bounds__(1024)
batch_norm(const T *__restrict__ x, const T *__restrict__ gamma, const T *__restrict__ beta,
           T *__restrict__ y, T *__restrict__ mean, T *__restrict__ variance, int rows, int columns,
           T eps) {
    const int column = blockIdx.x;
    T sum = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) sum += x[row * columns + column];
    const T mu = block_sum(sum) / T(rows);
    T squares = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        const T centred = x[row * columns + column] - mu;
        squares += centred * centred;
    }
    const T var = block_sum(squares) / T(rows);
    const T scale = gamma[column] * (T(1) / sqrt(var + eps));
    for (int row = threadIdx.x; row < rows; row += blockDim.x)
        y[row * columns + column] = (x[row * columns + column] - mu) * scale + beta[column];
    if (threadIdx.x == 0) {
        mean[column] = mu;
        variance[column] = var;
    }
}
