#pragma once
// A block of 32 x 32 threads, threads: 32, 32, works on 32 columns of a C-contiguous (rows, columns)
// array. threadIdx.x is the column, so that a warp reads neighbours; threadIdx.y goes down the rows.

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
template <typename T> __device__ __forceinline__ T sum_down(T value) {
    __shared__ T tile[32][33];  // 33: so that reading it transposed meets 32 different banks
    __syncthreads();            // who reads the result of the last call is done
    tile[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    value = tile[threadIdx.x][threadIdx.y];  // now a warp holds one column
    for (int lanes = 16; lanes; lanes /= 2) value += __shfl_xor_sync(0xffffffff, value, lanes);
    if (threadIdx.x == 0) tile[0][threadIdx.y] = value;  // read by this very thread before
    __syncthreads();
    return tile[0][threadIdx.x];
}
