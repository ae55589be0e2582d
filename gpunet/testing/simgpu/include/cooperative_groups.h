#pragma once
// As much of NVIDIA's cooperative groups as waits: a grid, a block, a tile of a warp.
namespace cooperative_groups {
using uint = unsigned int;
struct grid_group {
    void sync() const {
        (void)simgpu::scheduler->barrier(SIMGPU_SITE, "grid.sync", simgpu::Barrier::grid, 0);
    }
    // What a block does in between comes before all others have arrived: the earliest that it may.
    using arrival_token = uint;
    arrival_token barrier_arrive() const { return __syncthreads(), 0; }
    void barrier_wait(arrival_token &&) const { sync(); }
    bool is_valid() const { return true; }
    uint block_rank() const { return (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x; }
    uint num_blocks() const { return gridDim.x * gridDim.y * gridDim.z; }
    unsigned long long size() const { return (unsigned long long)num_blocks() * blockDim.x * blockDim.y * blockDim.z; }
    unsigned long long num_threads() const { return size(); }
    unsigned long long thread_rank() const {
        return (unsigned long long)block_rank() * (blockDim.x * blockDim.y * blockDim.z) +
               (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    }
};
struct thread_block {
    void sync() const { __syncthreads(); }
    uint thread_rank() const { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
    uint size() const { return blockDim.x * blockDim.y * blockDim.z; }
    uint num_threads() const { return size(); }
};
template <uint N, class Parent = void> struct thread_block_tile {
    uint thread_rank() const { return simgpu::self.lane % N; }
    uint size() const { return N; }
    uint num_threads() const { return N; }
    uint mask() const { return (N == 32 ? ~0u : (1u << N % 32) - 1) << simgpu::self.lane / N * N; }
    void sync() const { __syncwarp(mask()); }
    template <class T> T shfl(T x, int lane) const { return __shfl_sync(mask(), x, lane, N); }
    template <class T> T shfl_up(T x, uint by) const { return __shfl_up_sync(mask(), x, by, N); }
    template <class T> T shfl_down(T x, uint by) const { return __shfl_down_sync(mask(), x, by, N); }
    template <class T> T shfl_xor(T x, int lanes) const { return __shfl_xor_sync(mask(), x, lanes, N); }
    bool any(int x) const { return __any_sync(mask(), x); }
    bool all(int x) const { return __all_sync(mask(), x); }
};
inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
template <uint N, class Parent> thread_block_tile<N, Parent> tiled_partition(const Parent &) { return {}; }
template <class Group> void sync(const Group &group) { group.sync(); }
}  // namespace cooperative_groups
