#pragma once
// A block of WIDTH x DEPTH threads, 1024 in all, works on WIDTH columns of a C-contiguous (rows,
// columns) array. threadIdx.x is the column, so that a warp reads neighbours; threadIdx.y goes down
// the rows.

// The rows of this block: the grid's y cuts the rows into gridDim.y chunks, the last ones shorter
// or empty.
struct Rows {
    long long first, last;  // first <= r < last
    __device__ long long count() const { return last - first; }
};

__device__ __forceinline__ Rows rows_of_chunk(long long chunk, long long rows) {
    const long long size = (rows + gridDim.y - 1) / gridDim.y;
    const long long first = min(chunk * size, rows);
    return Rows{first, min(first + size, rows)};
}

// The sum of `value` over threadIdx.y, for each threadIdx.x; every thread gets its column's. All
// threads of the block must call. The order of adding never changes, so neither does the result.
template <int WIDTH, typename T> __device__ __forceinline__ T sum_down(T value) {
    __shared__ T tile[32][WIDTH + 1];  // + 1: so that reading it down meets 32 different banks
    const int place = threadIdx.y * WIDTH + threadIdx.x, warp = place / 32, lane = place % 32;
    for (int lanes = WIDTH; lanes < 32; lanes *= 2)
        value += __shfl_xor_sync(0xffffffff, value, lanes);  // the rows of this warp
    __syncthreads();  // who reads the result of the last call is done
    if (lane < WIDTH) tile[warp][lane] = value;
    __syncthreads();
    if (warp < WIDTH) {  // now a warp holds one column
        value = tile[lane][warp];
        for (int lanes = 16; lanes; lanes /= 2) value += __shfl_xor_sync(0xffffffff, value, lanes);
        if (lane == 0) tile[0][warp] = value;  // read by this very thread before
    }
    __syncthreads();
    return tile[0][threadIdx.x];
}

// Whether this block is the last of its grid to come here: then it sees what the others wrote
// before. arrived: 0, and 0 again once all have come.
__device__ __forceinline__ bool is_last(unsigned int *arrived) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicAdd(arrived, 1u) == gridDim.x * gridDim.y - 1;
        if (last) *arrived = 0;
        __threadfence();
    }
    __syncthreads();
    return last;
}
