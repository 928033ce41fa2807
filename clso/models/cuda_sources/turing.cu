/* The reads and writes of a Turing memory, and their gradient: `clso.models.turing` says what they are.

   A block goes through the chunks of a sequence with the memory, or its gradient, in registers. All that
   does not depend on the chunk before (forward) or after (backward) is done by one block a chunk.

   D, S and C, the dimensions, slots and tokens of a chunk, are given by the compiler's command line. */

#include "common.cuh"

constexpr int up(int n) /* to a power of two */
{
    int found = 1;
    while (found < n) found *= 2;
    return found;
}

constexpr int BY_CHUNK = 256;             /* threads of a block that has one chunk */
constexpr int WIDTH = 4 * D + 2;          /* of a token's row of heads */
constexpr int DS = D + 4;                 /* from vector to vector in shared memory */
constexpr int CP = up(C), CS = rounded(C, 4) + 4; /* tokens; from slot to slot */
constexpr int SP = up(S);
/* What chunks ahead write by is on its way; rows of a chunk lie so that pairs are in different banks. */
constexpr int STAGES = 3, STRIDE = D % 32 ? D : D + 16, STAGE = 3 * C * STRIDE;
/* Forward, a warp has 16 dimensions of all slots. */
constexpr int ADVANCING = 2 * D, TILES = SP <= 8 ? 1 : SP / 8, SLOTS = 8 * TILES;
/* Backward, LANES of a warp have EACH slots, four dimensions a lane. */
constexpr int LANES = up(D / 4), EACH_SLOTS = C <= 16 ? 2 : 1;
constexpr int BACK_SLOTS = rounded(S, 32 / LANES * EACH_SLOTS), RETREATING = BACK_SLOTS / EACH_SLOTS * LANES;
constexpr float MOST_ERASED = 1.0f - 1e-6f, LEAST_SQUARE = 1e-24f;
constexpr float FAR = 60.0f; /* from zero: a score whose exponential is one of a sum only below the peak */

static_assert(D % 16 == 0 && D <= 128 && S <= 32 && C <= 32, "sizes");

struct Arguments {
    long long n_batch, n_chunks;
    /* tokens are (B, K, C) */
    const float *heads;    /* (B, K, C, 4 D + 2): keys to read and to write by, erase, add, two strengths */
    const float *initial;  /* (S, D) */
    float *commands;       /* (B, K, 3, C, D): keys of a length to write by, what is erased, added */
    float *over_time;      /* (B, K, S, D): the memory as a chunk finds it */
    float *scale;          /* (B, K, S): one over the slots' lengths */
    float *score;          /* (B, K, C, S): before the softmax, to write by */
    float *read;           /* (B, K, C, D) */
    float *reading, *writing;               /* addresses, (B, K, C, S) */
    const float *d_read, *d_reading, *d_writing; /* or none */
    float *by_memory;      /* (B, K, S, D): by what is read, then all of what a chunk leaves */
    float *by_score;       /* (B, K, C, S) */
    float *d_heads;
    float *d_initial;      /* (B, S, D) */
};

/* What the next chunks write by, on its way into shared memory. */
template <int THREADS> struct Ring {
    float *stages;
    const float *next;
    long long by;
    int left, to = 0, at = 0;

    MEMBER_FUNCTION Ring(float *stages, const float *first, long long by, int n)
        : stages(stages), next(first), by(by), left(n)
    {
#pragma unroll
        for (int i = 0; i < STAGES - 1; i++) fetch();
        groups_are_done<STAGES - 2>();
    }
    MEMBER_FUNCTION void fetch()
    {
        if (left-- > 0) {
            constexpr int PARTS = D / 4, ROWS = THREADS / PARTS;
            const int row = threadIdx.x / PARTS, part = threadIdx.x % PARTS * 4;
            float *stage = stages + to * STAGE + row * STRIDE + part;
            const float *from = next + row * D + part;
#pragma unroll
            for (int i = 0; i < 3 * C; i += ROWS)
                if ((THREADS % PARTS == 0 || row < ROWS) && (3 * C % ROWS == 0 || i + row < 3 * C))
                    copy(stage + i * STRIDE, from + i * D);
            next += by, to = to + 1 == STAGES ? 0 : to + 1;
        }
        close_group();
    }
    MEMBER_FUNCTION const float *here() const { return stages + at * STAGE; }
    MEMBER_FUNCTION void step() { at = at + 1 == STAGES ? 0 : at + 1; }
    /* Before a barrier after which the chunk after this one is there for all. */
    MEMBER_FUNCTION void await() { groups_are_done<STAGES - 3>(); }
};

/* Of a warp: one over a vector's length. */
DEVICE float one_over_length(const float *x)
{
    float sum = 0.0f;
    for (int i = threadIdx.x % 32; i < D; i += 32) sum += x[i] * x[i];
    return rsqrtf(total<32>(sum) + LEAST_SQUARE);
}

/* Times which a token's key to read (0) or to write (1) by has length one. */
DEVICE float strength(const float *row, int which)
{
    float x = row[4 * D + which];
    return 1.0f + (x > 20.0f ? x : log1pf(expf(x)));
}

/* Of a warp: a token's key, of unit length times strength. */
DEVICE void make_key(const float *row, int which, float *key)
{
    float factor = one_over_length(row + which * D) * strength(row, which);
    for (int i = threadIdx.x % 32; i < D; i += 32) key[i] = row[which * D + i] * factor;
}

/* Of a warp: by heads, given the gradient by the key, sum over slots of by_unit[slot] * memory[slot]. */
DEVICE void key_back(const float *row, int which, const float *by_unit, const float *memory, float *d_row)
{
    constexpr int N = (D + 31) / 32;
    const int lane = threadIdx.x % 32;
    const float *key = row + which * D;
    float scale = one_over_length(key), times = strength(row, which), by[N], unit[N], along = 0.0f;
#pragma unroll
    for (int n = 0; n < N; n++) {
        int i = lane + 32 * n;
        bool there = i < D;
        by[n] = 0.0f, unit[n] = there ? key[i] * scale : 0.0f;
#pragma unroll 4
        for (int s = 0; s < S; s++) by[n] += by_unit[s] * (there ? memory[s * DS + i] : 0.0f);
        along += by[n] * unit[n];
    }
    along = total<32>(along);
#pragma unroll
    for (int n = 0; n < N; n++)
        if (lane + 32 * n < D) d_row[which * D + lane + 32 * n] = (by[n] - along * unit[n]) * scale * times;
    if (lane == 0) d_row[4 * D + which] = along * sigmoid(row[4 * D + which]);
}

KERNEL(BY_CHUNK) turing_prepare(const Arguments w)
{
    constexpr int THREADS = BY_CHUNK;
    const long long here = blockIdx.x;
    const float *heads = w.heads + here * C * WIDTH;
    float *keys = w.commands + here * 3 * C * D, *erase = keys + C * D, *add = erase + C * D;
    for (int t = threadIdx.x / 32; t < C; t += THREADS / 32) make_key(heads + t * WIDTH, 1, keys + t * D);
    EACH (i, C * D) {
        const float *row = heads + i / D * WIDTH + i % D;
        erase[i] = sigmoid(row[2 * D]), add[i] = row[3 * D];
    }
}

/* Where a token's scores of a pair of slots lie, so that neither those who write rows of eight slots nor
   those who read whole rows wait for each other's banks. */
DEVICE int place(int token, int slot)
{
    return token * SLOTS + (slot ^ (TILES == 2 ? token / 2 % 2 * 8 : TILES == 4 ? token % 4 * 8 : 0));
}

KERNEL(ADVANCING) turing_advance(const Arguments w)
{
    constexpr int THREADS = ADVANCING, WARPS = THREADS / 32, BLOCKS = (C + 15) / 16;
    constexpr int PAIRS = SLOTS / 2, ROWS = THREADS / PAIRS;
    constexpr int AHEAD = C <= 16 && TILES <= 2 ? C : 0; /* tokens whose writes are loaded early */
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, a = 16 * warp + 4 * t;
    const int n_chunks = w.n_chunks;
    const long long first = blockIdx.x * w.n_chunks;
    float *at = shared_memory();
    float *stages = take(at, STAGES * STAGE), *parts = take(at, WARPS * BLOCKS * 16 * SLOTS);
    float *squares = take(at, WARPS * SLOTS), *shares = take(at, SLOTS * CS);
    float *over_time = w.over_time + first * S * D, *scales = w.scale + first * S;
    float *scores = w.score + first * C * S, *writing = w.writing + first * C * S;
    float memory[TILES][4]; /* slots g + 8 n, dimensions from a on */
#pragma unroll
    for (int i = 0; i < 4 * TILES; i++) {
        int s = g + i / 4 * 8;
        memory[i / 4][i % 4] = s < S ? w.initial[s * D + a + i % 4] : 0.0f;
    }
    Ring<THREADS> ring(stages, w.commands + first * 3 * C * D, 3 * C * D, n_chunks);
    __syncthreads();
    float lead[BLOCKS][2][4], rest[BLOCKS][2][4]; /* keys of 16 tokens, as `multiply` has them */
    auto load_keys = [&](const float *keys) {
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            float low[4] = {}, high[4] = {};
            if (16 * i + g < C) load(low, keys + (16 * i + g) * STRIDE + a);
            if (16 * i + g + 8 < C) load(high, keys + (16 * i + g + 8) * STRIDE + a);
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float x[4] = {low[2 * k], high[2 * k], low[2 * k + 1], high[2 * k + 1]};
                split(x, lead[i][k], rest[i][k]);
            }
        }
    };
    load_keys(ring.here());
    for (int j = 0; j < n_chunks; j++) {
#pragma unroll
        for (int n = 0; n < TILES; n++)
            if (g + 8 * n < S) store(over_time + (g + 8 * n) * D + a, memory[n]);
        over_time += S * D;
#pragma unroll
        for (int n = 0; n < TILES; n++) {
            float m_lead[4], m_rest[4], square = 0.0f;
            split(memory[n], m_lead, m_rest);
#pragma unroll
            for (int i = 0; i < BLOCKS; i++) {
                float sums[4] = {}, small[2][4] = {};
#pragma unroll
                for (int k = 0; k < 2; k++) {
                    float right[2] = {m_lead[2 * k], m_lead[2 * k + 1]};
                    float other[2] = {m_rest[2 * k], m_rest[2 * k + 1]};
                    multiply(sums, lead[i][k], right);
                    multiply(small[k], lead[i][k], other);
                    multiply(small[k], rest[i][k], right);
                }
#pragma unroll
                for (int row = 0; row < 2; row++) {
                    float x = sums[2 * row] + (small[0][2 * row] + small[1][2 * row]);
                    float y = sums[2 * row + 1] + (small[0][2 * row + 1] + small[1][2 * row + 1]);
                    float *to = parts + warp * BLOCKS * 16 * SLOTS + place(16 * i + 8 * row + g, 8 * n + 2 * t);
                    *(float2 *)to = make_float2(x, y);
                }
            }
#pragma unroll
            for (int i = 0; i < 4; i++) square += memory[n][i] * memory[n][i];
            square = total<4>(square);
            if (t == 0) squares[warp * SLOTS + g + 8 * n] = square;
        }
        ring.await();
        __syncthreads();
        ring.fetch();
        float erase[AHEAD ? AHEAD : 1][4], add[AHEAD ? AHEAD : 1][4];
        const float *erases = ring.here() + C * STRIDE + a, *adds = erases + C * STRIDE;
        ring.step();
        const int slot = threadIdx.x % PAIRS * 2;
        const bool here = slot < S, both = slot + 1 < S;
#pragma unroll
        for (int row = 0; row < C; row += ROWS) {
            const int token = row + threadIdx.x / PAIRS;
            const float *from = parts + place(token < C ? token : 0, slot);
            float x = 0.0f, y = 0.0f, x_square = LEAST_SQUARE, y_square = LEAST_SQUARE;
#pragma unroll
            for (int i = 0; i < WARPS; i++) {
                float2 part = *(const float2 *)(from + i * BLOCKS * 16 * SLOTS);
                float2 square = *(const float2 *)(squares + i * SLOTS + slot);
                x += part.x, y += part.y, x_square += square.x, y_square += square.y;
            }
            if (row == 0) {
#pragma unroll
                for (int i = 0; i < AHEAD; i++) load(erase[i], erases + i * STRIDE), load(add[i], adds + i * STRIDE);
            }
            x_square = rsqrtf(x_square), y_square = rsqrtf(y_square);
            x *= x_square, y *= y_square;
            float top = 0.0f;
            if (any(fmaxf(fabsf(x), fabsf(y)) > FAR))
                top = most<PAIRS>(here ? fmaxf(x, both ? y : x) : -INFINITY);
            float p = here ? expf(x - top) : 0.0f, q = both ? expf(y - top) : 0.0f;
            float one_over = __fdividef(1.0f, total<PAIRS>(p + q));
            p *= one_over, q *= one_over;
            if (token < C) {
                shares[slot * CS + token] = fminf(p, MOST_ERASED);
                shares[(slot + 1) * CS + token] = fminf(q, MOST_ERASED);
                if (here) writing[token * S + slot] = p, scores[token * S + slot] = x;
                if (both) writing[token * S + slot + 1] = q, scores[token * S + slot + 1] = y;
                if (token == 0 && here) scales[slot] = x_square;
                if (token == 0 && both) scales[slot + 1] = y_square;
            }
        }
        if (j + 1 == n_chunks) break;
        load_keys(ring.here());
        writing += C * S, scores += C * S, scales += S;
        __syncthreads();
#pragma unroll
        for (int from = 0; from < C; from += 4) {
            float share[TILES][4];
#pragma unroll
            for (int n = 0; n < TILES; n++) load(share[n], shares + (g + 8 * n) * CS + from);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (from + k >= C) break;
                float e[4], x[4];
                if (from + k < AHEAD) {
#pragma unroll
                    for (int i = 0; i < 4; i++) e[i] = erase[(from + k) % (AHEAD ? AHEAD : 1)][i], x[i] = add[(from + k) % (AHEAD ? AHEAD : 1)][i];
                } else load(e, erases + (from + k) * STRIDE), load(x, adds + (from + k) * STRIDE);
#pragma unroll
                for (int i = 0; i < 4 * TILES; i++) {
                    float &m = memory[i / 4][i % 4];
                    m += share[i / 4][k] * (x[i % 4] - e[i % 4] * m);
                }
            }
        }
    }
}

/* A chunk's memory, and the keys to read it by, in rows of shared memory, by the threads of a block. */
DEVICE void load_chunk(const Arguments &w, long long here, float *memory, float *keys)
{
    constexpr int THREADS = BY_CHUNK;
    const float *over_time = w.over_time + here * S * D, *heads = w.heads + here * C * WIDTH;
    EACH (i, S * D) memory[i / D * DS + i % D] = over_time[i];
    for (int t = threadIdx.x / 32; t < C; t += THREADS / 32) make_key(heads + t * WIDTH, 0, keys + t * DS);
}

KERNEL(BY_CHUNK) turing_read(const Arguments w)
{
    constexpr int THREADS = BY_CHUNK;
    const long long here = blockIdx.x;
    float *at = shared_memory();
    float *memory = take(at, S * DS), *keys = take(at, C * DS), *shares = take(at, C * SP);
    load_chunk(w, here, memory, keys);
    __syncthreads();
    ROWS_OF (token, slot, C, SP) {
        bool there = token < C && slot < S;
        float x = -INFINITY;
        if (there) x = dot<D>(keys + token * DS, memory + slot * DS) * w.scale[here * S + slot];
        float top = most<SP>(x), e = there ? expf(x - top) : 0.0f;
        e = __fdividef(e, total<SP>(e));
        if (there) shares[token * SP + slot] = e, w.reading[(here * C + token) * S + slot] = e;
    }
    __syncthreads();
    EACH (i, C * D) {
        const float *share = shares + i / D * SP, *from = memory + i % D;
        float sum = 0.0f;
#pragma unroll
        for (int s = 0; s < S; s++) sum += share[s] * from[s * DS];
        w.read[here * C * D + i] = sum;
    }
}

/* By what a chunk reads: of its memory, and of the keys to read by. */
KERNEL(BY_CHUNK) turing_unread(const Arguments w)
{
    constexpr int THREADS = BY_CHUNK;
    const long long here = blockIdx.x;
    const float *heads = w.heads + here * C * WIDTH;
    float *at = shared_memory();
    float *memory = take(at, S * DS), *keys = take(at, C * DS), *given = take(at, C * DS);
    float *shares = take(at, C * SP), *by_unit = take(at, C * SP), *along = take(at, C * SP);
    load_chunk(w, here, memory, keys);
    EACH (i, C * D) given[i / D * DS + i % D] = w.d_read ? w.d_read[here * C * D + i] : 0.0f;
    __syncthreads();
    ROWS_OF (token, slot, C, SP) {
        float share = 0.0f, by = 0.0f, score = 0.0f, scale = 0.0f;
        if (token < C && slot < S) {
            long long place = (here * C + token) * S + slot;
            scale = w.scale[here * S + slot], share = w.reading[place];
            score = dot<D>(keys + token * DS, memory + slot * DS) * scale;
            by = dot<D>(given + token * DS, memory + slot * DS) + (w.d_reading ? w.d_reading[place] : 0.0f);
        }
        float x = share * (by - total<SP>(share * by));
        if (token < C)
            shares[token * SP + slot] = share, by_unit[token * SP + slot] = x * scale,
            along[token * SP + slot] = x * score;
    }
    __syncthreads();
    for (int t = threadIdx.x / 32; t < C; t += THREADS / 32)
        key_back(heads + t * WIDTH, 0, by_unit + t * SP, memory, w.d_heads + (here * C + t) * WIDTH);
    EACH (i, S * D) {
        int s = i / D, a = i % D;
        float by_read = 0.0f, by_key = 0.0f, back = 0.0f, scale = w.scale[here * S + s];
#pragma unroll
        for (int t = 0; t < C; t++) {
            by_read += shares[t * SP + s] * given[t * DS + a];
            by_key += by_unit[t * SP + s] * keys[t * DS + a];
            back += along[t * SP + s];
        }
        w.by_memory[here * S * D + i] = by_read + by_key - back * memory[s * DS + a] * scale * scale;
    }
}

template <bool YES> struct Is {
    static constexpr bool yes = YES;
};

KERNEL(RETREATING) turing_retreat(const Arguments w)
{
    constexpr int THREADS = RETREATING, WARPS = THREADS / 32, E = EACH_SLOTS;
    constexpr int N = E * CP, OWN = N > LANES ? N / LANES : 1, REPEATED = N < LANES ? LANES / N : 1;
    const int lane = threadIdx.x % LANES, first_slot = threadIdx.x / LANES * E;
    const int a = 4 * lane < D ? 4 * lane : 0; /* the first dimension */
    const bool wide = 4 * lane < D;
    /* whose score's gradient ends up in this lane: a slot's, and some tokens' */
    const int index = lane / REPEATED * OWN, e = index / CP, own = index % CP, slot = first_slot + e;
    const bool owner = slot < S && lane % REPEATED == 0;
    const int n_chunks = w.n_chunks;
    const long long last = (blockIdx.x + 1) * w.n_chunks - 1;
    float *at = shared_memory();
    float *stages = take(at, STAGES * STAGE), *shares = take(at, BACK_SLOTS * CS);
    float *by_scores = take(at, BACK_SLOTS * CS), *sums = take(at, 2 * WARPS * CP);
    const float *over_time = w.over_time + last * S * D, *scales = w.scale + last * S;
    float *by_memory = w.by_memory + last * S * D;
    long long place = last * C * S + own * S + slot; /* of the first own score */
    float memory[E][4], given[E][4], scale[E], share[OWN], score[OWN], d_share[OWN];
    auto fetch = [&]() {
#pragma unroll
        for (int n = 0; n < E; n++) {
            bool there = wide && first_slot + n < S;
            scale[n] = 0.0f;
#pragma unroll
            for (int i = 0; i < 4; i++) memory[n][i] = given[n][i] = 0.0f;
            if (there) {
                load(memory[n], over_time + (first_slot + n) * D + a);
                load(given[n], by_memory + (first_slot + n) * D + a);
                scale[n] = scales[first_slot + n];
            }
        }
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            share[i] = score[i] = d_share[i] = 0.0f;
            if (slot < S && own + i < C) {
                share[i] = w.writing[place + i * S], score[i] = w.score[place + i * S];
                if (w.d_writing) d_share[i] = w.d_writing[place + i * S];
            }
        }
    };
    fetch();
    Ring<THREADS> ring(stages, w.commands + last * 3 * C * D, -3 * C * D, n_chunks);
    __syncthreads();
    float g[E][4] = {};
    for (int j = 0; j < n_chunks; j++) {
        const float *keys = ring.here() + a, *erases = keys + C * STRIDE, *adds = erases + C * STRIDE;
        float running[E][4], found[E][4], length[E], direct[E][4], p[OWN], x[OWN], by[OWN];
        bool full = false; /* whether a slot may be erased wholly */
#pragma unroll
        for (int n = 0; n < E; n++) {
            length[n] = scale[n];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                running[n][i] = found[n][i] = memory[n][i], direct[n][i] = given[n][i];
            }
        }
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            p[i] = share[i], x[i] = score[i], by[i] = d_share[i];
            full |= p[i] > MOST_ERASED;
            if (own + i < CS) shares[slot * CS + own + i] = fminf(p[i], MOST_ERASED);
        }
        full = any(full);
        float *after = by_memory;
        const float *addresses = w.writing + (last - j) * C * S;
        const long long here = place;
        over_time -= S * D, scales -= S, by_memory -= S * D, place -= C * S;
        __syncwarp();
        /* of the slots, for four tokens */
        auto load_weights = [&](float (&weight)[E][4], int from) {
#pragma unroll
            for (int n = 0; n < E; n++) load(weight[n], shares + (first_slot + n) * CS + from);
        };
        float change[E][C][4]; /* of the memory, by its share of a token's write */
        auto run_through = [&](auto may_be_full) {
#pragma unroll
            for (int from = 0; from < C; from += 4) {
                float weight[E][4];
                load_weights(weight, from);
#pragma unroll
                for (int t = from; t < from + 4 && t < C; t++) {
                    float erase[4], add[4], exact[E] = {};
                    load(erase, erases + t * STRIDE), load(add, adds + t * STRIDE);
                    if (may_be_full.yes) {
#pragma unroll
                        for (int n = 0; n < E; n++)
                            if (weight[n][t - from] == MOST_ERASED) exact[n] = addresses[t * S + first_slot + n];
                    }
#pragma unroll
                    for (int i = 0; i < 4 * E; i++) {
                        int n = i / 4, k = i % 4;
                        float d = add[k] - erase[k] * running[n][k];
                        running[n][k] += weight[n][t - from] * d;
                        /* from there on what is kept does not depend on the share */
                        change[n][t][k] = may_be_full.yes && exact[n] * erase[k] > MOST_ERASED ? add[k] : d;
                    }
                }
            }
        };
        if (full) run_through(Is<true>());
        else run_through(Is<false>());
        __syncwarp(); /* what is loaded again below is not held in registers until then */
#pragma unroll
        for (int n = 0; n < E; n++)
            if (wide && first_slot + n < S) store(after + (first_slot + n) * D + a, g[n]);
        float by_share[N];
#pragma unroll
        for (int i = 0; i < N; i++) by_share[i] = 0.0f;
#pragma unroll
        for (int from = (C - 1) / 4 * 4; from >= 0; from -= 4) {
            if (from == C / 8 * 4 && j + 1 < n_chunks) fetch(); /* by now there are registers for it */
            float weight[E][4];
            load_weights(weight, from);
#pragma unroll
            for (int t = from + 3; t >= from; t--) {
                if (t >= C) continue;
                float erase[4];
                load(erase, erases + t * STRIDE);
#pragma unroll
                for (int i = 0; i < 4 * E; i++) {
                    int n = i / 4, k = i % 4;
                    by_share[n * CP + t] += g[n][k] * change[n][t][k];
                    g[n][k] *= 1.0f - weight[n][t - from] * erase[k];
                }
            }
        }
        share_out<N, LANES>(by_share);
        float *sum = sums + (j % 2 * WARPS + threadIdx.x / 32) * CP + own;
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            by[i] += by_share[i];
            float mean = p[i] * by[i];
#pragma unroll
            for (int n = E == 2 ? LANES / 2 : LANES; n < 32; n *= 2) mean += exchange(mean, n, 32);
            if (threadIdx.x % 32 < LANES && e == 0 && lane % REPEATED == 0) sum[i] = mean;
        }
        ring.await();
        __syncthreads();
        ring.fetch();
        float along[E] = {};
        sum = sums + j % 2 * WARPS * CP + own;
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            float mean = 0.0f;
#pragma unroll
            for (int n = 0; n < WARPS; n++) mean += sum[n * CP + i];
            float d = p[i] * (by[i] - mean);
            if (own + i < CS) by_scores[slot * CS + own + i] = d;
            if (owner && own + i < C) {
                w.by_score[here + i * S] = d;
                along[0] += d * x[i];
            }
        }
#pragma unroll
        for (int n = 1; n < LANES / E; n *= 2) along[0] += exchange(along[0], n, 32);
        if (E == 2) {
            float other = exchange(along[0], LANES / 2, 32);
            along[E - 1] = e ? along[0] : other;
            along[0] = e ? other : along[0];
        }
        __syncwarp();
        float by_unit[E][4] = {};
#pragma unroll
        for (int from = 0; from < C; from += 4) {
            float d[E][4];
#pragma unroll
            for (int n = 0; n < E; n++) load(d[n], by_scores + (first_slot + n) * CS + from);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (from + k >= C) break;
                float key[4];
                load(key, keys + (from + k) * STRIDE);
#pragma unroll
                for (int i = 0; i < 4 * E; i++) by_unit[i / 4][i % 4] += d[i / 4][k] * key[i % 4];
            }
        }
#pragma unroll
        for (int i = 0; i < 4 * E; i++) {
            int n = i / 4, k = i % 4;
            g[n][k] += direct[n][k] + (by_unit[n][k] - along[n] * (found[n][k] * length[n])) * length[n];
        }
        ring.step();
    }
#pragma unroll
    for (int n = 0; n < E; n++)
        if (wide && first_slot + n < S) store(w.d_initial + (blockIdx.x * S + first_slot + n) * D + a, g[n]);
}

/* By what a chunk writes: of its erase, add and keys to write by. */
KERNEL(BY_CHUNK) turing_unwrite(const Arguments w)
{
    constexpr int THREADS = BY_CHUNK, GROUPS = THREADS / D;
    const long long here = blockIdx.x;
    const int a = threadIdx.x % D, group = threadIdx.x / D;
    const float *commands = w.commands + here * 3 * C * D + C * D, *heads = w.heads + here * C * WIDTH;
    const float *over_time = w.over_time + here * S * D, *after = w.by_memory + here * S * D;
    float *d_heads = w.d_heads + here * C * WIDTH;
    float *at = shared_memory();
    float *memory = take(at, S * DS), *shares = take(at, S * CS), *by_unit = take(at, C * SP);
    float *parts = take(at, GROUPS * 2 * C * D);
    EACH (i, S * D) memory[i / D * DS + i % D] = over_time[i];
    EACH (i, C * S) {
        int t = i / S, s = i % S;
        shares[s * CS + t] = w.writing[here * C * S + i];
        by_unit[t * SP + s] = w.by_score[here * C * S + i] * w.scale[here * S + s];
    }
    float erase[C], add[C], d_erase[C] = {}, d_add[C] = {}, steps[C];
#pragma unroll
    for (int t = 0; t < C; t++) erase[t] = commands[t * D + a], add[t] = commands[(C + t) * D + a];
    __syncthreads();
    if (group < GROUPS) {
#pragma unroll 1
        for (int s = group; s < S; s += GROUPS) {
            float m = memory[s * DS + a], g = after[s * D + a];
            const float *share = shares + s * CS;
#pragma unroll
            for (int t = 0; t < C; t++) {
                steps[t] = m;
                m += fminf(share[t], MOST_ERASED) * (add[t] - erase[t] * m);
            }
#pragma unroll
            for (int t = C - 1; t >= 0; t--) {
                float gone = share[t] * erase[t];
                d_erase[t] -= gone > MOST_ERASED ? 0.0f : g * steps[t] * share[t];
                d_add[t] += g * share[t];
                g *= 1.0f - fminf(gone, MOST_ERASED);
            }
        }
#pragma unroll
        for (int t = 0; t < C; t++) {
            parts[(group * 2 * C + t) * D + a] = d_erase[t] * erase[t] * (1.0f - erase[t]);
            parts[(group * 2 * C + C + t) * D + a] = d_add[t];
        }
    }
    for (int t = threadIdx.x / 32; t < C; t += THREADS / 32)
        key_back(heads + t * WIDTH, 1, by_unit + t * SP, memory, d_heads + t * WIDTH);
    __syncthreads();
    EACH (i, 2 * C * D) {
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < GROUPS; n++) sum += parts[n * 2 * C * D + i];
        int t = i / D % C;
        d_heads[t * WIDTH + (i < C * D ? 2 : 3) * D + i % D] = sum;
    }
}
