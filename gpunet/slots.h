// A call of a C function as numbers: where the function is, how many arguments it has, and the
// arguments, a slot of eight bytes each. A list of such calls is a program that runs without Python.
#pragma once

typedef long long Slot;
typedef void (*Op)(const Slot *);

// What a slot holds, as the function's argument: a pointer, a whole number, or a double's bits.
template <typename To> struct Of {
    static To slot(Slot s) { return To(s); }
};
template <typename To> struct Of<To *> {
    static To *slot(Slot s) { return (To *)s; }
};
static inline double of_bits(Slot s) {
    double number;
    __builtin_memcpy(&number, &s, sizeof number);
    return number;
}
template <> struct Of<float> {
    static float slot(Slot s) { return float(of_bits(s)); }
};
template <> struct Of<double> {
    static double slot(Slot s) { return of_bits(s); }
};

template <int... K> struct Places {};
template <auto F, typename... Args, int... K>
static inline void call(void (*)(Args...), const Slot *a, Places<K...>) {
    F(Of<Args>::slot(a[K])...);
}
template <typename... Args> constexpr int count(void (*)(Args...)) { return sizeof...(Args); }
template <int N, int... K> struct Counted : Counted<N - 1, N - 1, K...> {};
template <int... K> struct Counted<0, K...> { typedef Places<K...> type; };

// F as a function of slots.
template <auto F> static void of_slots(const Slot *a) {
    call<F>(F, a, typename Counted<count(F)>::type());
}
#define OP(name) extern "C" const Op gpunet_op_##name = of_slots<gpunet_##name>
