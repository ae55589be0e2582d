#pragma once
// Copies to shared memory that go on while the thread does something else: none is made before the
// thread waits for it, the latest that it may be. Each thread waits for its own.
namespace simgpu {
struct Copy {
    void *to;
    const void *from;
    size_t bytes;
    Word block, thread;
    bool committed;
    Copy *next;
};
inline Copy *copies[1 << 12];  // by thread, of all blocks that are there at once
inline Copy *&copies_of(Word block, Word thread) {
    return copies[(block * 1024 + thread) % (sizeof copies / sizeof *copies)];
}
template <class F> void each_own_copy(F f) {
    const Index &at = self.thread, &size = self.block_dim;
    const Word thread = (at.z * size.y + at.y) * size.x + at.x;
    for (Copy **link = &copies_of(self.block_serial, thread); *link;) {
        Copy *copy = *link;
        const bool own = copy->block == self.block_serial && copy->thread == thread;
        if (own && f(*copy)) {
            *link = copy->next;
            delete copy;
        } else {
            link = &copy->next;
        }
    }
}
}  // namespace simgpu

inline void __pipeline_memcpy_async(void *to, const void *from, size_t bytes) {
    if ((bytes != 4 && bytes != 8 && bytes != 16) || (size_t)to % bytes || (size_t)from % bytes)
        simgpu::scheduler->fail(SIMGPU_SITE, "__pipeline_memcpy_async takes 4, 8 or 16 bytes, aligned so");
    const simgpu::Index &at = simgpu::self.thread, &size = simgpu::self.block_dim;
    const simgpu::Word block = simgpu::self.block_serial, thread = (at.z * size.y + at.y) * size.x + at.x;
    simgpu::Copy *&first = simgpu::copies_of(block, thread);
    first = new simgpu::Copy{to, from, bytes, block, thread, false, first};
}
inline void __pipeline_commit() {
    simgpu::each_own_copy([](simgpu::Copy &copy) { return copy.committed = true, false; });
}
// Always for all that is committed: `prior` may only be 0.
inline void __pipeline_wait_prior(size_t prior) {
    if (prior) simgpu::scheduler->fail(SIMGPU_SITE, "__pipeline_wait_prior waits here for all: for 0");
    simgpu::each_own_copy([](simgpu::Copy &copy) {
        if (copy.committed) __builtin_memcpy(copy.to, copy.from, copy.bytes);
        return copy.committed;
    });
}
