/* The selective scan of a state space, and its gradient: `clso.models.selective` says what it is.

   A block goes through a segment of time with 32 channels, a lane each, and a warp for each four states.
   Segments are gone through at once: first from zero, which gives what each leaves to those after it (or,
   backwards, before it), then from what the others left.

   STATES, the states N of a channel, is given by the compiler's command line. */

#include "common.cuh"

constexpr int OWN = 4, WARPS = (STATES + OWN - 1) / OWN, THREADS = 32 * WARPS; /* OWN: states of a thread */
constexpr int TILE = WARPS <= 4 ? 32 : 16; /* steps whose inputs are in shared memory */
constexpr int WIDE = TILE * 32, NARROW = TILE * WARPS * OWN; /* a tile of channels, of states */
constexpr int AHEAD = 8;                        /* steps whose inputs are in registers, forward */
constexpr int GROUP = 4, GROUPS = TILE / GROUP; /* steps whose states are in registers, backwards */
constexpr int STAGES = 2, ADDING = 256;
constexpr float LN_2 = 0.693147181f;

static_assert(STATES <= 64, "sizes");

struct Arguments {
    /* tiles in all, the segments that they are shared out among, tiles of each */
    long long n_batch, n_tokens, n_channels, n_tiles, n_segments, length;
    const float *x, *step; /* (B, T, E) */
    const float *a;        /* (E, N) */
    const float *b, *c;    /* (B, T, N) */
    float *out;            /* (B, T, E) */
    /* channels are C blocks of 32, states W warps of 4 */
    float *starts; /* (B, tiles, C, W, 32, 4): states before each tile */
    float *ends;   /* (B, segments, C, W * 128 + 32): what segments leave, from zero; their time */
    const float *grad;
    float *d_x, *d_step, *d_a, *d_b, *d_c;
    float *by_rate;  /* (B, segments, C, W, 32, 4) */
    float *by_token; /* (B, T / 4, C, W, 32): of b and c by turns, of four tokens, of four states */
};

struct Block {
    int n_groups, group, segment, sequence;
    int warp, lane, channel, state; /* of the thread; the first state */
    bool there;                     /* the channel */

    MEMBER_FUNCTION Block(const Arguments &w, int n_segments, int first)
    {
        const int index = blockIdx.x;
        n_groups = (w.n_channels + 31) / 32;
        group = index % n_groups, segment = first + index / n_groups % n_segments;
        sequence = index / n_groups / n_segments;
        warp = threadIdx.x / 32, lane = threadIdx.x % 32, channel = 32 * group + lane, state = OWN * warp;
        there = channel < w.n_channels;
    }
    MEMBER_FUNCTION int first_tile(const Arguments &w) const { return segment * (int)w.length; }
    MEMBER_FUNCTION int n_tiles(const Arguments &w) const
    {
        int left = (int)w.n_tiles - first_tile(w), length = w.length;
        return left < length ? left : length;
    }
    /* This block's part of (B, `n`, C, `size`). */
    MEMBER_FUNCTION long long place(long long n, int i, int size) const
    {
        return ((sequence * n + i) * n_groups + group) * size;
    }
    /* Rates of decay, in powers of two. */
    MEMBER_FUNCTION void load_rates(const Arguments &w, float (&rate)[OWN]) const
    {
#pragma unroll
        for (int n = 0; n < OWN; n++)
            rate[n] = there && state + n < STATES ? LOG2_E * w.a[channel * STATES + state + n] : 0.0f;
    }
};

/* Tiles of some arrays of channels, then of some of states, on their way into shared memory, from the
   first tile on or, by -1, from the last. What is outside of the arrays is zero. */
template <int WIDES, int NARROWS> struct Tiles {
    static constexpr int STAGE = WIDES * WIDE + NARROWS * NARROW;
    const Arguments &w;
    const Block &block;
    const float *wide[WIDES], *narrow[NARROWS];
    float *stages;
    int tile, by, left, to = 0;

    MEMBER_FUNCTION Tiles(const Arguments &w, const Block &block, const float *const (&wide)[WIDES],
                          const float *const (&narrow)[NARROWS], float *stages, int by)
        : w(w), block(block), stages(stages), by(by), left(block.n_tiles(w))
    {
        const long long first = block.sequence * w.n_tokens;
#pragma unroll
        for (int i = 0; i < WIDES; i++) this->wide[i] = wide[i] + first * w.n_channels + block.channel;
#pragma unroll
        for (int i = 0; i < NARROWS; i++) this->narrow[i] = narrow[i] + first * STATES;
        tile = block.first_tile(w) + (by < 0 ? left - 1 : 0);
        fetch();
    }
    MEMBER_FUNCTION void fetch()
    {
        if (left-- > 0) {
            float *stage = stages + to * STAGE;
            const long long first = (long long)tile * TILE;
            const int n_tokens = w.n_tokens - first < TILE ? w.n_tokens - first : TILE;
            constexpr int COLUMNS = WARPS * OWN, ROWS = THREADS / COLUMNS;
            const int row = threadIdx.x / COLUMNS, state = threadIdx.x % COLUMNS;
#pragma unroll
            for (int i = 0; i < WIDES; i++) {
                const float *from = wide[i] + (first + block.warp) * w.n_channels;
                float *at = stage + i * WIDE + threadIdx.x;
#pragma unroll 8
                for (int t = 0; t < TILE; t += WARPS, from += WARPS * w.n_channels)
                    if (TILE % WARPS == 0 || t + block.warp < TILE)
                        copy_if(at + t * 32, from, block.there && t + block.warp < n_tokens);
            }
#pragma unroll
            for (int i = 0; i < NARROWS; i++) {
                const float *from = narrow[i] + (first + row) * STATES + state;
                float *at = stage + WIDES * WIDE + i * NARROW + threadIdx.x;
#pragma unroll
                for (int t = 0; t < TILE; t += ROWS)
                    copy_if(at + t * COLUMNS, from + t * STATES, state < STATES && t + row < n_tokens);
            }
            tile += by, to = (to + 1) % STAGES;
        }
        close_group();
    }
    /* The next one, while the one after it is fetched. All threads are done with the one before. */
    MEMBER_FUNCTION const float *take()
    {
        const float *here = stages + (to + STAGES - 1) % STAGES * STAGE;
        copies_are_done();
        __syncthreads();
        fetch();
        return here;
    }
};

/* h after a step of some length with some input to its states. */
DEVICE void advance(float (&h)[OWN], const float (&rate)[OWN], float step, float input, const float (&b)[OWN])
{
#pragma unroll
    for (int n = 0; n < OWN; n++) h[n] = power_of_two(step * rate[n]) * h[n] + input * b[n];
}

constexpr int END = THREADS * OWN + 32; /* numbers that a block leaves */

DEVICE void store_end(const Arguments &w, const Block &block, const float (&h)[OWN], float time)
{
    float *to = w.ends + block.place(w.n_segments, block.segment, END);
    store(to + threadIdx.x * OWN, h);
    if (block.warp == 0) to[THREADS * OWN + block.lane] = time;
}

/* What `n` segments leave, from `first` on, by 1 or -1. */
DEVICE void gather(const Arguments &w, const Block &block, int first, int by, int n,
                   const float (&rate)[OWN], float (&h)[OWN])
{
    const float *from = w.ends + block.place(w.n_segments, first, END);
    const long long distance = by * block.n_groups * END;
#pragma unroll 8
    for (int i = 0; i < n; i++, from += distance) {
        float end[OWN], time = from[THREADS * OWN + block.lane];
        load(end, from + threadIdx.x * OWN);
#pragma unroll
        for (int k = 0; k < OWN; k++) h[k] = power_of_two(time * rate[k]) * h[k] + end[k];
    }
}

/* What all segments but the last leave, from zero. */
KERNEL(THREADS) selective_ends(const Arguments w)
{
    const Block block(w, w.n_segments - 1, 0);
    float rate[OWN], h[OWN] = {}, time = 0.0f;
    block.load_rates(w, rate);
    Tiles<2, 1> tiles(w, block, {w.x, w.step}, {w.b}, shared_memory(), 1);
    for (int n = block.n_tiles(w); n > 0; n--) {
        const float *tile = tiles.take(), *x = tile + block.lane, *step = x + WIDE;
        const float *b = tile + 2 * WIDE + block.state;
#pragma unroll 8
        for (int t = 0; t < TILE; t++) {
            float s = step[t * 32], key[OWN];
            load(key, b + t * WARPS * OWN);
            advance(h, rate, s, s * x[t * 32], key);
            time += s;
        }
    }
    store_end(w, block, h, time);
}

KERNEL(THREADS) selective_advance(const Arguments w)
{
    const Block block(w, w.n_segments, 0);
    float *at = shared_memory();
    float *stages = take(at, STAGES * Tiles<2, 2>::STAGE), *sums = take(at, WARPS * WIDE);
    float rate[OWN], h[OWN] = {};
    block.load_rates(w, rate);
    Tiles<2, 2> tiles(w, block, {w.x, w.step}, {w.b, w.c}, stages, 1);
    gather(w, block, 0, 1, block.segment, rate, h);
    const int first = block.first_tile(w), n_channels = w.n_channels;
    int left = w.n_tokens - (long long)first * TILE; /* tokens */
    float *starts = w.starts + block.place(w.n_tiles, first, THREADS * OWN) + threadIdx.x * OWN;
    float *out = w.out + (block.sequence * w.n_tokens + first * TILE) * w.n_channels + block.channel;
    for (int n = block.n_tiles(w); n > 0; n--) {
        const float *x = tiles.take() + block.lane, *step = x + WIDE;
        const float *b = x - block.lane + 2 * WIDE + block.state, *c = b + NARROW;
        float *sum = sums + block.warp * WIDE + block.lane;
        store(starts, h);
#pragma unroll 1
        for (int from = 0; from < TILE; from += AHEAD) {
            float s[AHEAD], value[AHEAD], key[AHEAD][OWN], read[AHEAD][OWN], y[AHEAD] = {};
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                const int t = from + i;
                s[i] = step[t * 32], value[i] = x[t * 32];
                load(key[i], b + t * WARPS * OWN), load(read[i], c + t * WARPS * OWN);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                advance(h, rate, s[i], s[i] * value[i], key[i]);
#pragma unroll
                for (int k = 0; k < OWN; k++) y[i] += read[i][k] * h[k];
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) sum[(from + i) * 32] = y[i];
        }
        __syncthreads();
#pragma unroll 8
        for (int row = 0; row < TILE; row += WARPS) {
            const int t = row + block.warp;
            if (TILE % WARPS && t >= TILE) break;
            float y = 0.0f;
#pragma unroll
            for (int i = 0; i < WARPS; i++) y += sums[i * WIDE + t * 32 + block.lane];
            if (block.there && t < left) out[(long long)t * n_channels] = y;
        }
        starts += block.n_groups * THREADS * OWN, out += (long long)TILE * n_channels, left -= TILE;
    }
}

/* By the states that all segments but the first start from, of what they read. */
KERNEL(THREADS) selective_unread(const Arguments w)
{
    const Block block(w, w.n_segments - 1, 1);
    float rate[OWN], g[OWN] = {}, time = 0.0f;
    block.load_rates(w, rate);
    Tiles<2, 1> tiles(w, block, {w.grad, w.step}, {w.c}, shared_memory(), -1);
    for (int n = block.n_tiles(w); n > 0; n--) {
        const float *tile = tiles.take(), *grad = tile + block.lane, *step = grad + WIDE;
        const float *c = tile + 2 * WIDE + block.state;
#pragma unroll 8
        for (int t = TILE - 1; t >= 0; t--) {
            float s = step[t * 32], d = grad[t * 32], reads[OWN];
            load(reads, c + t * WARPS * OWN);
#pragma unroll
            for (int k = 0; k < OWN; k++) g[k] = power_of_two(s * rate[k]) * (g[k] + d * reads[k]);
            time += s;
        }
    }
    store_end(w, block, g, time);
}

KERNEL(THREADS) selective_retreat(const Arguments w)
{
    const Block block(w, w.n_segments, 0);
    float *at = shared_memory();
    float *stages = take(at, STAGES * Tiles<3, 2>::STAGE), *history = take(at, GROUPS * THREADS * OWN);
    float *sums = take(at, 2 * GROUP * THREADS * 2);
    float rate[OWN], g[OWN] = {}, by_rate[OWN] = {}, ahead[OWN];
    block.load_rates(w, rate);
    Tiles<3, 2> tiles(w, block, {w.x, w.step, w.grad}, {w.b, w.c}, stages, -1);
    const int n_channels = w.n_channels, n_tiles = block.n_tiles(w), last = block.first_tile(w) + n_tiles - 1;
    const float *starts = w.starts + block.place(w.n_tiles, last, THREADS * OWN) + threadIdx.x * OWN;
    load(ahead, starts);
    gather(w, block, w.n_segments - 1, -1, w.n_segments - 1 - block.segment, rate, g);
    history += threadIdx.x * OWN;
    /* the last four tokens */
    int left = w.n_tokens - ((long long)last * TILE + TILE - GROUP);
    long long row = (block.sequence * w.n_tokens + (long long)last * TILE + TILE - GROUP) * w.n_channels;
    float *d_x = w.d_x + row + block.channel, *d_step = w.d_step + row + block.channel;
    float *by_token = w.by_token + block.place(w.n_tiles * GROUPS, last * GROUPS + GROUPS - 1, THREADS) + threadIdx.x;
    for (int n = n_tiles; n > 0; n--) {
        const float *values = tiles.take() + block.lane, *steps = values + WIDE, *grads = steps + WIDE;
        const float *keys = values - block.lane + 3 * WIDE + block.state, *reads = keys + NARROW;
        float h[OWN];
#pragma unroll
        for (int k = 0; k < OWN; k++) h[k] = ahead[k];
        starts -= block.n_groups * THREADS * OWN;
        if (n > 1) load(ahead, starts);
#pragma unroll 1
        for (int i = 0; i < GROUPS - 1; i++) {
            store(history + i * THREADS * OWN, h);
#pragma unroll
            for (int k = 0; k < GROUP; k++) {
                const int t = GROUP * i + k;
                float s = steps[t * 32], key[OWN];
                load(key, keys + t * WARPS * OWN);
                advance(h, rate, s, s * values[t * 32], key);
            }
        }
#pragma unroll 1
        for (int i = GROUPS - 1; i >= 0; i--) {
            /* states are made again, and what they were before a step's input came in */
            float decay[GROUP][OWN], decayed[GROUP][OWN], by_reads[GROUP * OWN], by_keys[GROUP * OWN];
            float s[GROUP], value[GROUP], d[GROUP], key[GROUP][OWN], by_input[GROUP] = {}, by_step[GROUP] = {};
            if (i < GROUPS - 1) load(h, history + i * THREADS * OWN);
#pragma unroll
            for (int k = 0; k < GROUP; k++) {
                const int t = GROUP * i + k;
                s[k] = steps[t * 32], value[k] = values[t * 32], d[k] = grads[t * 32];
                load(key[k], keys + t * WARPS * OWN);
#pragma unroll
                for (int j = 0; j < OWN; j++) {
                    decay[k][j] = power_of_two(s[k] * rate[j]);
                    decayed[k][j] = decay[k][j] * h[j];
                    h[j] = decayed[k][j] + s[k] * value[k] * key[k][j];
                    by_reads[k * OWN + j] = d[k] * h[j];
                }
            }
#pragma unroll
            for (int k = GROUP - 1; k >= 0; k--) {
                float read[OWN];
                load(read, reads + (GROUP * i + k) * WARPS * OWN);
#pragma unroll
                for (int j = 0; j < OWN; j++) {
                    g[j] += d[k] * read[j];
                    by_keys[k * OWN + j] = s[k] * value[k] * g[j];
                    by_input[k] += g[j] * key[k][j];
                    float by_exponent = g[j] * decayed[k][j];
                    by_rate[j] += by_exponent * s[k];
                    by_step[k] += by_exponent * rate[j];
                    g[j] *= decay[k][j];
                }
            }
            float *sum = sums + i % 2 * GROUP * THREADS * 2;
#pragma unroll
            for (int k = 0; k < GROUP; k++)
                *(float2 *)(sum + (k * THREADS + threadIdx.x) * 2) = make_float2(by_input[k], by_step[k]);
            share_out<GROUP * OWN, 32>(by_reads);
            share_out<GROUP * OWN, 32>(by_keys);
            *by_token = block.lane % 2 ? by_reads[0] : by_keys[0];
            __syncthreads();
#pragma unroll
            for (int from = 0; from < GROUP; from += WARPS) {
                const int k = from + block.warp, t = GROUP * i + k;
                if (GROUP % WARPS && k >= GROUP) break;
                float input = 0.0f, exponent = 0.0f;
#pragma unroll
                for (int j = 0; j < WARPS; j++) {
                    float2 part = *(const float2 *)(sum + (k * THREADS + j * 32 + block.lane) * 2);
                    input += part.x, exponent += part.y;
                }
                if (block.there && k < left) {
                    d_x[(long long)k * n_channels] = steps[t * 32] * input;
                    d_step[(long long)k * n_channels] = values[t * 32] * input + LN_2 * exponent;
                }
            }
            by_token -= block.n_groups * THREADS, left += GROUP;
            d_x -= (long long)GROUP * n_channels, d_step -= (long long)GROUP * n_channels;
        }
    }
    store(w.by_rate + block.place(w.n_segments, block.segment, THREADS * OWN) + threadIdx.x * OWN, by_rate);
}

/* Adds up what blocks found: a block has 32 gradients of rates, or a thread one of a token's. */
KERNEL(ADDING) selective_add(const Arguments w)
{
    constexpr int ROWS = ADDING / 32;
    const int n_groups = (w.n_channels + 31) / 32, n_rates = n_groups * THREADS * OWN;
    if (blockIdx.x < n_rates / 32) {
        float *sums = shared_memory(), sum = 0.0f;
        const int row = threadIdx.x / 32, i = blockIdx.x * 32 + threadIdx.x % 32;
        const int n_parts = w.n_batch * w.n_segments;
#pragma unroll 8
        for (int part = row; part < n_parts; part += ROWS) sum += w.by_rate[(long long)part * n_rates + i];
        sums[threadIdx.x] = sum;
        __syncthreads();
        const int channel = i / (THREADS * OWN) * 32 + i / OWN % 32, state = i / 128 % WARPS * OWN + i % OWN;
        if (row == 0 && channel < w.n_channels && state < STATES) {
#pragma unroll
            for (int k = 1; k < ROWS; k++) sum += sums[k * 32 + threadIdx.x];
            w.d_a[channel * STATES + state] = sum;
        }
    } else {
        const long long i = (long long)(blockIdx.x - n_rates / 32) * ADDING + threadIdx.x;
        const long long four = i / THREADS, n_fours = w.n_tiles * GROUPS, sequence = four / n_fours;
        if (sequence >= w.n_batch) return;
        const int thread = i % THREADS, k = thread % 32 / 2;
        const long long token = four % n_fours * GROUP + k / OWN;
        const int state = thread / 32 * OWN + k % OWN;
        const float *from = w.by_token + four * n_groups * THREADS + thread;
        float sum = 0.0f;
#pragma unroll 4
        for (int n = 0; n < n_groups; n++) sum += from[n * THREADS];
        if (token < w.n_tokens && state < STATES)
            (thread % 2 ? w.d_c : w.d_b)[(sequence * w.n_tokens + token) * STATES + state] = sum;
    }
}
