// While one lives, numbers of a processor's vectors that are too small to be normal count as 0 and
// become 0: gpunet/subnormals.py. Only x86 takes longer for them.
#pragma once
struct Flushing {
#ifdef __SSE__
    const unsigned before = __builtin_ia32_stmxcsr();
    explicit Flushing(bool on) {
        if (on) __builtin_ia32_ldmxcsr(before | 0x8040);
    }
    ~Flushing() { __builtin_ia32_ldmxcsr(before); }
#else
    explicit Flushing(bool) {}
    ~Flushing() {}
#endif
};
