#pragma once
// Philox4x64-10 (Salmon et al. 2011), the generator that NumPy ships as numpy.random.Philox: ten
// rounds turn a counter of four 64-bit words and a key of two into four random words.

#ifndef WIDE_PRODUCT  // both halves of a product: a processor has them by one instruction
#define WIDE_PRODUCT(high, low, a, b) const unsigned long long high = __umul64hi(a, b), low = a * b
#endif

struct Philox {
    unsigned long long word[4];
};

__device__ __forceinline__ Philox philox(unsigned long long seed, unsigned long long c0,
                                         unsigned long long c1) {
    unsigned long long key0 = seed, key1 = 0, c2 = 0, c3 = 0;
    for (int round = 0; round < 10; ++round) {
        const unsigned long long m0 = 0xD2E7470EE14C6C93ULL, m1 = 0xCA5A826395121157ULL;
        WIDE_PRODUCT(high0, low0, m0, c0);
        WIDE_PRODUCT(high1, low1, m1, c2);
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9E3779B97F4A7C15ULL;
        key1 += 0xBB67AE8584CAA73BULL;
    }
    return Philox{{c0, c1, c2, c3}};
}

// Element j's 16 random bits: four from each word. numpy.random.Philox counts up before it draws,
// so its first block is counter 1.
__device__ __forceinline__ unsigned int random_bits16(unsigned long long seed,
                                                      unsigned long long step,
                                                      unsigned long long j) {
    const Philox random = philox(seed, j / 16 + 1, step);
    // Two selects: an index that is not known before the kernel runs needs memory of the thread.
    const unsigned long long even = j & 8 ? random.word[2] : random.word[0];
    const unsigned long long odd = j & 8 ? random.word[3] : random.word[1];
    return (unsigned int)(((j & 4 ? odd : even) >> (16 * (j % 4))) & 0xFFFF);
}
