/* What kernels in CUDA share. Blocks of a cluster (compute capability 9.0) write into each other's
   shared memory. tests/models/cuda_on_cpu.h has the same for a CPU, thread by thread. */

#pragma once

#ifndef ON_CPU
#define DEVICE static __device__ __forceinline__
#define MEMBER static __device__ __forceinline__
#define MEMBER_FUNCTION __device__ __forceinline__
#define INFINITY __int_as_float(0x7f800000)
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define CLUSTER_KERNEL(cluster, threads) \
    extern "C" __global__ void __cluster_dims__(cluster, 1, 1) __launch_bounds__(threads, 1)

/* Which block of its cluster this is. */
DEVICE int cluster_rank()
{
    int rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

DEVICE float *shared_memory()
{
    extern __shared__ float4 pool[];
    return (float *)pool;
}
DEVICE unsigned address(const void *shared) { return (unsigned)__cvta_generic_to_shared(shared); }

/* How far the shared memory of the cluster's block `rank` is from this one's. */
DEVICE unsigned distance(int rank)
{
    unsigned here = address(shared_memory()), there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
    return there - here;
}

/* A barrier of all threads of all blocks of a cluster. */
DEVICE void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

/* What blocks of a cluster send to a block, and its threads wait for: an mbarrier that counts bytes.
   All of a round are sent before any of the next. */
struct Mail {
    unsigned long long barrier;

    MEMBER_FUNCTION void open()
    {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n"
                     "fence.mbarrier_init.release.cluster;" ::"r"(address(&barrier))
                     : "memory");
    }
    /* Once a round. */
    MEMBER_FUNCTION void expect(int bytes)
    {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(&barrier)),
                     "r"(bytes)
                     : "memory");
    }
    MEMBER_FUNCTION void await(int round)
    {
        int done = 0;
        while (!done)
            asm volatile("{\n.reg .pred p;\n"
                         "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                         "selp.s32 %0, 1, 0, p;\n}"
                         : "=r"(done)
                         : "r"(address(&barrier)), "r"(round & 1)
                         : "memory");
    }
    /* `n` numbers (a multiple of 4, at multiples of 16 bytes) from global memory, for which `expect`
       waits, too. */
    MEMBER_FUNCTION void fetch(float *to, const float *from, int n)
    {
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                     "[%0], [%1], %2, [%3];" ::"r"(address(to)), "l"(from), "r"(n * 4), "r"(address(&barrier))
                     : "memory");
    }
    /* 16 bytes into a block at a `distance`, where `to` and this lie here. */
    MEMBER_FUNCTION void put(float *to, unsigned distance, float4 x)
    {
        asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 "
                     "[%0], {%1, %2, %3, %4}, [%5];" ::"r"(address(to) + distance),
                     "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w), "r"(address(&barrier) + distance)
                     : "memory");
    }
};

/* 16 bytes from global to shared memory, which are there for the thread after `copies_are_done`. */
DEVICE void copy(float *to, const float *from)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(address(to)), "l"(from) : "memory");
#else
    *(float4 *)to = *(const float4 *)from;
#endif
}
/* A number, or zero if there is none. */
DEVICE void copy_if(float *to, const float *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address(to)), "l"(from),
                 "r"(there ? 4 : 0)
                 : "memory");
#else
    *to = there ? *from : 0.0f;
#endif
}
DEVICE void copies_are_done()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
/* The thread's copies since the last call are a group. */
DEVICE void close_group()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* All groups but the last N are there for the thread. */
template <int N> DEVICE void groups_are_done()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

/* sums (16, 8) += left (16, 8) @ right (8, 8) of a warp's registers, with the 11 leading bits of each
   factor. Of lane 4 g + t: left has (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4), right has (t, g),
   (t + 4, g), sums (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1). */
DEVICE void multiply(float (&sums)[4], const float (&left)[4], const float (&right)[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(__float_as_uint(left[0])), "r"(__float_as_uint(left[1])),
                   "r"(__float_as_uint(left[2])), "r"(__float_as_uint(left[3])),
                   "r"(__float_as_uint(right[0])), "r"(__float_as_uint(right[1])));
#else
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < 8; k++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            sums[i] += __shfl_sync(0xffffffffu, left[i / 2 + k / 4 * 2], g * 4 + k % 4)
                       * __shfl_sync(0xffffffffu, right[k / 4], (2 * t + i % 2) * 4 + k % 4);
#endif
}

/* Not to be made up again from what it was made of. */
DEVICE void hold(float &x) { asm volatile("" : "+f"(x)); }

/* Its 11 leading bits. */
DEVICE float leading(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

DEVICE float exchange(float x, int lane_mask, int lanes)
{
    return __shfl_xor_sync(0xffffffffu, x, lane_mask, lanes);
}
/* To one or two last bits, of normal numbers. */
DEVICE float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float reciprocal_root(float x)
{
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* Whether x holds for any lane of the warp. */
DEVICE bool any(bool x) { return __any_sync(0xffffffffu, x); }
DEVICE void assume(bool x) { __builtin_assume(x); }
#endif

#define EACH(i, n) for (int i = threadIdx.x; i < (n); i += THREADS)
/* Rows and columns, `n` threads a row; all threads go round equally often. */
#define ROWS_OF(row, column, rows, n) \
    for (int row = threadIdx.x / (n), column = threadIdx.x % (n), first_ = 0; first_ < (rows); \
         row += THREADS / (n), first_ += THREADS / (n))

/* The next `n` numbers of shared memory. */
DEVICE float *take(float *&at, int n)
{
    float *here = at;
    at += (n + 3) / 4 * 4;
    return here;
}

/* Two numbers side by side, at a multiple of 8 bytes. */
DEVICE float2 &pair(float *x) { return *(float2 *)x; }
DEVICE float2 pair(const float *x) { return *(const float2 *)x; }
/* And four, at one of 16. */
DEVICE float4 &four(float *x) { return *(float4 *)x; }
DEVICE float4 four(const float *x) { return *(const float4 *)x; }

DEVICE float4 operator+(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
DEVICE float4 operator*(float4 a, float4 b)
{
    return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
DEVICE void load(float (&x)[4], const float *from)
{
    float4 y = *(const float4 *)from;
    x[0] = y.x, x[1] = y.y, x[2] = y.z, x[3] = y.w;
}
DEVICE void store(float *to, const float (&x)[4]) { *(float4 *)to = make_float4(x[0], x[1], x[2], x[3]); }

/* Over groups of a power of two of lanes, that many apart; each gets the result. */
template <int LANES, int APART = 1> DEVICE float total(float x)
{
#pragma unroll
    for (int i = LANES / 2; i; i /= 2) x += exchange(x, i * APART, 32);
    return x;
}

template <int LANES, int APART = 1> DEVICE float most(float x)
{
#pragma unroll
    for (int i = LANES / 2; i; i /= 2) x = fmaxf(x, exchange(x, i * APART, 32));
    return x;
}

/* Sums over LEFT lanes of N numbers each: a lane has those from its index among the lanes, N / LEFT of
   them, or one, from the lane's leading bits. */
template <int N, int LEFT, int SIZE> DEVICE void share_out(float (&x)[SIZE])
{
    if constexpr (LEFT > 1) {
        const bool upper = threadIdx.x & (LEFT / 2);
        if constexpr (N > 1) {
#pragma unroll
            for (int i = 0; i < N / 2; i++) {
                float kept = upper ? x[i + N / 2] : x[i], sent = upper ? x[i] : x[i + N / 2];
                x[i] = kept + exchange(sent, LEFT / 2, 32);
            }
        } else x[0] += exchange(x[0], LEFT / 2, 32);
        share_out<(N > 1 ? N / 2 : 1), LEFT / 2>(x);
    }
}

/* What four neighbouring lanes have, side by side, into all N blocks of a cluster, a lane the blocks
   whose `distances` it has: each N / 4th, from lane % 4 on. `to` is the first one's place. All lanes
   of a warp come here. */
template <int N>
DEVICE void put_to_all(Mail &mail, bool there, float *to, const unsigned (&distances)[(N + 3) / 4], float x)
{
    int lane = threadIdx.x % 4;
    float other = exchange(x, 1, 32);
    float a = lane & 1 ? other : x, b = lane & 1 ? x : other;
    float c = exchange(a, 2, 32), d = exchange(b, 2, 32);
    float4 four = lane & 2 ? make_float4(c, d, a, b) : make_float4(a, b, c, d);
#pragma unroll
    for (int i = 0; i < (N + 3) / 4; i++)
        if (there && lane + 4 * i < N) mail.put(to, distances[i], four);
}

constexpr float LOG2_E = 1.44269504f;
/* Its error is that of `x`, rounded. */
DEVICE float exponential(float x) { return power_of_two(LOG2_E * x); }
DEVICE float sigmoid(float x) { return reciprocal(1.0f + exponential(-x)); }
DEVICE float tanh_(float x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

template <int N> DEVICE float dot(const float *x, const float *y) /* both aligned to 16 bytes */
{
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        float4 a = *(const float4 *)(x + i), b = *(const float4 *)(y + i);
        sum += a.x * b.x;
        sum += a.y * b.y;
        sum += a.z * b.z;
        sum += a.w * b.w;
    }
    return sum;
}

constexpr int rounded(int n, int to) { return (n + to - 1) / to * to; }

/* How many groups of `warps` share out the steps of a product of some tiles among them. */
constexpr int groups(int warps, int tiles, int steps)
{
    int found = 1;
    while (2 * found * tiles <= warps && steps % (2 * found) == 0) found *= 2;
    return found;
}

/* sums += left @ right, of float32's precision: factors are a leading part and a rest of 11 bits each,
   and rests of both do not count. */
template <int N> DEVICE void split(const float (&x)[N], float (&lead)[N], float (&rest)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) lead[i] = leading(x[i]), rest[i] = x[i] - lead[i];
}

/* sums (16, 8) of a warp += left(row, k) @ right(k, column), as lanes have them in `multiply`. `left`
   gives the four numbers at k, which is even, and k + 1 of a row and that 8 below, as in `place`, `right`
   the two. To a tensor core they are t and t + 4 of an eight. */
template <int K, class Left, class Right> DEVICE void tile(float (&sums)[4], Left left, Right right)
{
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float small[2][4] = {};
#pragma unroll
    for (int i = 0; i < K / 8; i++) {
        const int k = 8 * i + 2 * t;
        const float4 a = left(g, k);
        const float2 b = right(k, g);
        float x[4] = {a.x, a.y, a.z, a.w}, y[2] = {b.x, b.y};
        float x_lead[4], x_rest[4], y_lead[2], y_rest[2];
        split(x, x_lead, x_rest);
        split(y, y_lead, y_rest);
        multiply(small[0], x_lead, y_rest);
        multiply(sums, x_lead, y_lead);
        multiply(small[1], x_rest, y_lead);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sums[i] += small[0][i] + small[1][i];
}

/* Where row and column are in a matrix of which rows 8 apart are side by side: what a lane has of a tile
   is four neighbours. */
DEVICE int place(int row, int column, int stride)
{
    return (row / 16 * 8 + row % 8) * stride + 2 * column + row / 8 % 2;
}
DEVICE float4 neighbours(const float (&tile)[4]) { return make_float4(tile[0], tile[2], tile[1], tile[3]); }
DEVICE float4 by_row(float upper, float lower) { return make_float4(upper, lower, upper, lower); }
/* Sums over two columns, of the upper and the lower row. */
DEVICE float2 over_columns(float4 x) { return make_float2(x.x + x.z, x.y + x.w); }
