/* CUDA's threads on a CPU, one by one: each is a fiber that runs until a barrier. */

#define ON_CPU
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

#define DEVICE static inline
#define MEMBER static inline
#define MEMBER_FUNCTION inline
#define KERNEL(threads) extern "C" void
#define CLUSTER_KERNEL(cluster, threads) extern "C" void

using std::max, std::min;

struct float4 {
    float x, y, z, w;
};
struct float2 {
    float x, y;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static inline float reciprocal(float x) { return 1.0f / x; }
static inline float reciprocal_root(float x) { return 1.0f / std::sqrt(x); }
static inline float power_of_two(float x) { return std::exp2(x); }
static inline void assume(bool x)
{
    if (!x) abort();
}

struct Barrier {
    int wanted, arrived = 0, generation = 0;
    int arrive()
    {
        int mine = generation;
        if (++arrived == wanted) arrived = 0, generation++;
        return mine;
    }
};

struct Index {
    unsigned x;
};

struct Fiber {
    ucontext_t context; /* to begin with; from then on a jump, which is no call of the system */
    jmp_buf place;
    bool begun = false;
    Index thread, block;
    int rank;
    bool done = false;
};

static Fiber *now;
static jmp_buf scheduler;
static std::vector<Barrier> blocks, warps;
static Barrier whole;
static std::vector<float> words, memory;
static size_t shared_floats;
static int warps_of_block;

#define threadIdx (now->thread)
#define blockIdx (now->block)

static void let_others()
{
    if (!_setjmp(now->place)) _longjmp(scheduler, 1);
}
static void wait_for(const Barrier &barrier, int mine)
{
    while (barrier.generation == mine) let_others();
}
static int warp() { return now->rank * warps_of_block + now->thread.x / 32; }
static inline void __syncthreads() { wait_for(blocks[now->rank], blocks[now->rank].arrive()); }
static inline void __syncwarp() { wait_for(warps[warp()], warps[warp()].arrive()); }
static inline int cluster_rank() { return now->rank; }
static inline float *shared_memory() { return memory.data() + now->rank * shared_floats; }
static inline void copy(float *to, const float *from)
{
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16) abort();
    std::copy(from, from + 4, to);
}
static inline void copy_if(float *to, const float *from, bool there) { *to = there ? *from : 0.0f; }
static inline void copies_are_done() {}
static inline void close_group() {}
template <int N> static inline void groups_are_done() {}
static inline void hold(float &) {}
static inline float __fdividef(float x, float y) { return x / y; }
static inline unsigned distance(int rank) { return rank; }
static inline void cluster_sync() { wait_for(whole, whole.arrive()); }

/* A round is over when it is known how much was to come, and that has come. */
struct Mail {
    int due;
    short rounds, asked;

    void open() { due = rounds = asked = 0; }
    void expect(int bytes)
    {
        due += bytes, asked = 1;
        close();
    }
    void close()
    {
        if (asked && !due) rounds++, asked = 0;
    }
    void fetch(float *to, const float *from, int n)
    {
        if ((uintptr_t)to % 16 || (uintptr_t)from % 16 || n % 4) abort();
        std::copy(from, from + n, to);
        due -= 4 * n;
        close();
    }
    void await(int round)
    {
        while (rounds <= round) let_others();
    }
    void put(float *to, int rank, float4 x)
    {
        float *base = memory.data() + (rank - now->rank) * (long)shared_floats;
        float *there = to - memory.data() + base;
        there[0] = x.x, there[1] = x.y, there[2] = x.z, there[3] = x.w;
        Mail *mail = (Mail *)((float *)this - memory.data() + base);
        mail->due -= 16;
        mail->close();
    }
};

static inline float exchange(float x, int lane_mask, int)
{
    float *of = words.data() + warp() * 32 * 6;
    of[now->thread.x % 32] = x;
    __syncwarp();
    float found = of[(now->thread.x % 32) ^ lane_mask];
    __syncwarp();
    return found;
}
static inline bool any(bool x)
{
    float *of = words.data() + warp() * 32 * 6;
    of[now->thread.x % 32] = x;
    __syncwarp();
    bool found = std::find(of, of + 32, 1.0f) != of + 32;
    __syncwarp();
    return found;
}
/* Its 11 leading bits, all that a tensor core reads. */
static inline float leading(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits &= 0xffffe000u;
    memcpy(&x, &bits, 4);
    return x;
}
static inline void multiply(float (&sums)[4], const float (&left)[4], const float (&right)[2])
{
    int lane = now->thread.x % 32, g = lane / 4, t = lane % 4;
    float *of = words.data() + warp() * 32 * 6;
    for (int i = 0; i < 4; i++) of[lane * 6 + i] = leading(left[i]);
    for (int i = 0; i < 2; i++) of[lane * 6 + 4 + i] = leading(right[i]);
    __syncwarp();
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 8; k++)
            sums[i] += of[(g * 4 + k % 4) * 6 + i / 2 + k / 4 * 2]
                       * of[((2 * t + i % 2) * 4 + k % 4) * 6 + 4 + k / 4];
    __syncwarp();
}
static inline void atomicAdd(float *to, float x) { *to += x; }

template <class A> struct Call {
    void (*kernel)(const A);
    const A *arguments;
};
template <class A> static Call<A> current;
template <class A> static void start()
{
    current<A>.kernel(*current<A>.arguments);
    now->done = true;
    _longjmp(scheduler, 1);
}

static_assert(sizeof(Mail) == 8, "as on a GPU");

static const int GUARD = 64; /* numbers behind a block's shared memory that nothing writes to */

/* Threads and blocks go in order, or backwards: what a barrier is missing for differs. Returns 1 if
   threads wait for ever, 2 if they write behind their shared memory. */
template <class A>
static int run(void (*kernel)(const A), const A *arguments, int n_blocks, int cluster, int threads,
               size_t floats, int backwards)
{
    const size_t stack = 64 << 10;
    current<A> = {kernel, arguments};
    shared_floats = floats + GUARD;
    warps_of_block = threads / 32;
    std::vector<char> stacks(stack * cluster * threads);
    for (int first = 0; first < n_blocks; first += cluster) {
        memory.assign(shared_floats * cluster, NAN);
        words.assign(cluster * threads * 6, 0.0f);
        blocks.assign(cluster, Barrier{threads});
        warps.assign(cluster * warps_of_block, Barrier{32});
        whole = Barrier{cluster * threads};
        std::vector<Fiber> fibers(cluster * threads);
        for (int i = 0; i < cluster * threads; i++) {
            Fiber &f = fibers[i];
            f.rank = i / threads;
            f.thread.x = i % threads;
            f.block.x = (backwards ? n_blocks - cluster - first : first) + f.rank;
            getcontext(&f.context);
            f.context.uc_stack.ss_sp = stacks.data() + stack * i;
            f.context.uc_stack.ss_size = stack;
            f.context.uc_link = nullptr;
            makecontext(&f.context, start<A>, 0);
        }
        if (backwards) std::reverse(fibers.begin(), fibers.end());
        for (int left = cluster * threads, rounds = 0; left;) {
            int before = left;
            long moved = whole.generation;
            for (auto &b : blocks) moved += b.generation;
            for (auto &b : warps) moved += b.generation;
            for (int i = 0; i < cluster * threads; i++) {
                Fiber &f = fibers[i];
                if (f.done) continue;
                now = &f;
                if (!_setjmp(scheduler)) {
                    if (f.begun) _longjmp(f.place, 1);
                    f.begun = true;
                    setcontext(&f.context);
                }
                left -= now->done;
            }
            for (auto &b : blocks) moved -= b.generation;
            for (auto &b : warps) moved -= b.generation;
            moved -= whole.generation;
            rounds = moved || left != before ? 0 : rounds + 1;
            if (rounds > 100) return 1;
        }
        for (int block = 0; block < cluster; block++)
            for (int i = 1; i <= GUARD; i++)
                if (!std::isnan(memory[(block + 1) * shared_floats - i])) return 2;
    }
    return 0;
}

#ifdef SOURCE
#include SOURCE
extern "C" int launch(void (*kernel)(const Arguments), const Arguments *arguments, int blocks,
                      int cluster, int threads, long floats, int backwards)
{
    return run(kernel, arguments, blocks, cluster, threads, floats, backwards);
}
#endif
