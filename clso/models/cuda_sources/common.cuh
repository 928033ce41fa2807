/* What kernels in CUDA share. Blocks of a cluster (compute capability 9.0) write into each other's
   shared memory. tests/models/cuda_on_cpu.h has the same for a CPU, thread by thread. */

#pragma once

#ifndef ON_CPU
#define DEVICE static __device__ __forceinline__
#define MEMBER static __device__ __forceinline__
#define INFINITY __int_as_float(0x7f800000)
#define KERNEL(cluster, threads) \
    extern "C" __global__ void __cluster_dims__(cluster, 1, 1) __launch_bounds__(threads, 1)

/* Which block of its cluster this is. */
DEVICE int cluster_rank()
{
    int rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* Into shared memory of the cluster's block `rank`, where `to` lies in this block's. */
DEVICE void put(float *to, int rank, float x)
{
    unsigned here = (unsigned)__cvta_generic_to_shared(to), there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(x) : "memory");
}

/* A barrier of all threads of all blocks of a cluster, in two halves. */
DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

DEVICE float *shared_memory()
{
    extern __shared__ float4 pool[];
    return (float *)pool;
}

DEVICE float exchange(float x, int lane_mask, int lanes)
{
    return __shfl_xor_sync(0xffffffffu, x, lane_mask, lanes);
}
#endif

/* i from `first` in steps of the threads; all threads go round equally often. */
#define EACH(i, n) for (int i = threadIdx.x; i < (n); i += THREADS)

/* The next `n` numbers of shared memory. */
DEVICE float *take(float *&at, int n)
{
    float *here = at;
    at += (n + 3) / 4 * 4;
    return here;
}

/* Over groups of a power of two of lanes; each gets the result. */
template <int LANES> DEVICE float total(float x)
{
#pragma unroll
    for (int i = LANES / 2; i; i /= 2) x += exchange(x, i, LANES);
    return x;
}

template <int LANES> DEVICE float most(float x)
{
#pragma unroll
    for (int i = LANES / 2; i; i /= 2) x = fmaxf(x, exchange(x, i, LANES));
    return x;
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float tanh_(float x) { return 2.0f / (1.0f + expf(-2.0f * x)) - 1.0f; }

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

/* How many groups of threads share the K rows of a product of `rows` by N out among them. */
constexpr int groups(int threads, int rows, int n, int k)
{
    int most = threads / ((rows / 4) * (n / 4)), found = 1;
    while (2 * found <= most && k % (2 * found) == 0) found *= 2;
    return found;
}
