/* A state mixer, forward and backward: `clso.models.nsm_mixer` and `nsm_recurrence` have the words,
   the letters of shapes, and the same in plain torch.

   Chunks are gone through one by one by a cluster of H blocks for each sequence. A block has the
   weights of one head, and of that head's W dimensions of the gate, in registers, and a copy of all
   states; what its head makes of a chunk it writes into the shared memory of all. All that does not
   depend on the chunk before (forward) or after (backward) is done by one block a chunk.

   D, H, C, S and SCALE are given by the compiler's command line. */

#include "common.cuh"

constexpr int W = D / H, BY_TURNS = 256, AT_ONCE = 512; /* threads of a block */
constexpr int WARPS = BY_TURNS / 32;
constexpr int SP = rounded(S, 16), SS = SP + 8; /* states in a column, and from column to column */
constexpr int WS = W + 4, DS = D + 4, GS = 4 * D + 4, ROWS = C + S;
constexpr int NORMED = D + 4, SEEN = 3 * D + 4;
constexpr int LANES = S <= 4 ? 4 : S <= 8 ? 8 : S <= 16 ? 16 : 32; /* one for each state */
constexpr int LS = LANES + 1;
constexpr int ROW_LANES = SP <= 16 ? 16 : 8, EACH_LANE = D / ROW_LANES; /* that share a state's dimensions */
constexpr int NEAR = S + 2 * C, NS = NEAR + 1;           /* what a token may read */
constexpr int ASKED = (ROWS * LANES + BY_TURNS - 1) / BY_TURNS; /* weights of a thread */
constexpr int READ_EACH = (NEAR + 31) / 32;
/* What the backward pass needs of one head of a chunk: asks and what tokens send, keys and values of
   states, messages, gradients of keys and values by reading, shares, masses. */
constexpr int ASKS = 0, SENT = ASKS + ROWS * WS, KEYS = SENT + C * WS, VALUES = KEYS + S * WS;
constexpr int MESSAGES = VALUES + S * WS, D_READ = MESSAGES + S * WS, SHARES = D_READ + 2 * S * W;
constexpr int MASS = SHARES + rounded(ROWS * S, 4), NOTES = MASS + rounded(S, 4);
/* What it finds there for the tokens: gradients of scores, and of messages over their masses. */
constexpr int D_SCORES = 0, D_SENT = rounded(ROWS * LS, 4);
constexpr int RESULTS = D_SENT + S * WS;
constexpr float LEAST_MASS = 1e-6f, TINY = 1e-20f, NORM_EPS = 1e-5f, MAX_EXPONENT = 30.0f;

static_assert(BY_TURNS % W == 0 && BY_TURNS % D == 0 && D % ROW_LANES == 0 && W % 16 == 0, "widths");
static_assert(S <= 32 && SP * ROW_LANES <= BY_TURNS, "states");

struct Arguments {
    long long n_batch, n_chunks, first, n_all; /* B; K chunks, from `first`, of J */
    const float *maps; /* (B, J, C, 4 D): tokens' read query, route query, key and value */
    const float *norm, *norm_bias, *state_maps, *state_maps_bias; /* (3 D, D): query, key, value */
    const float *by_input, *by_state, *input_bias, *state_bias;   /* a GRU's in torch's order */
    const float *importance;
    float *states;            /* (J + 1, B, S, D) */
    float *found;             /* (B, J, C, D): what tokens read */
    const float *d_found;
    float *notes;                   /* (K, B, H, NOTES) */
    float *normed, *moments;        /* (K, B, S, NORMED): and 1; (K, B, S, 2) */
    float *seen;                    /* (K, B, S, SEEN): message, heard, state, 1 */
    float *by_gate;                 /* (K, B, S, GS): i, r, z, h; then gradients of these arguments */
    float *direct, *change;         /* (K, B, S, D) */
    float *d_read_importance;       /* (J, B, S) */
    float *d_maps;                  /* as maps; zeros at first */
    float *d_own, *results;         /* (K, B, S, 3 D), (K, B, H, RESULTS) */
    float *carried;                 /* (B, S, D): gradient of the states after, then before all */
    float *d_norm, *d_importance;   /* (B, S, 2 D), (B, H, C + S, LANES): added to */
    const float *of_gate, *of_maps; /* (4 D, 3 D + 1): rows i, r, z, h by SEEN; (3 D, D + 1) by NORMED */
    float *to_norm, *to_norm_bias, *to_state_maps, *to_state_maps_bias, *to_by_input, *to_by_state;
    float *to_input_bias, *to_state_bias, *to_initial, *to_importance; /* gradients, as what they are of */
};

/* ---- products: a warp has 16 rows and some columns of one of several shares of the sum over K ---- */

template <int N, int K, int COLUMNS, int GROUPS> struct Product {
    static constexpr int TILES = SP / 16 * (N / COLUMNS), STEPS = K / 8 / GROUPS, EIGHTS = COLUMNS / 8;
    static constexpr int STRIDE = N + 8, SIZE = GROUPS * SP * STRIDE;
    static_assert(TILES * GROUPS <= WARPS && K % (8 * GROUPS) == 0, "each warp has one share at most");
    float lead[STEPS][EIGHTS][2], rest[STEPS][EIGHTS][2]; /* of the right matrix, in registers */

    MEMBER bool works() { return threadIdx.x / 32 < TILES * GROUPS; }
    MEMBER int group() { return threadIdx.x / 32 / TILES; }
    MEMBER int row() { return threadIdx.x / 32 % TILES / (N / COLUMNS) * 16; }
    MEMBER int column() { return threadIdx.x / 32 % TILES % (N / COLUMNS) * COLUMNS; }

    /* of(k, n) is the right matrix */
    template <class Of> MEMBER_FUNCTION void load(Of of)
    {
        int k = group() * STEPS * 8 + threadIdx.x % 4, n = column() + threadIdx.x % 32 / 4;
#pragma unroll
        for (int i = 0; i < EIGHTS * STEPS; i++) {
            int at = k + i / EIGHTS * 8, e = i % EIGHTS;
            float x[2] = {}, *y = lead[i / EIGHTS][e], *z = rest[i / EIGHTS][e];
            if (works()) x[0] = of(at, n + e * 8), x[1] = of(at + 4, n + e * 8);
            for (int m = 0; m < 2; m++) y[m] = leading(x[m]), z[m] = x[m] - y[m], hold(z[m]);
        }
    }

    /* left(row, k) is the left matrix */
    template <class Left> MEMBER_FUNCTION void add(Left left, float (&sums)[EIGHTS][4]) const
    {
        int s = row() + threadIdx.x % 32 / 4, k = group() * STEPS * 8 + threadIdx.x % 4;
        float small[EIGHTS][4] = {};
#pragma unroll
        for (int i = 0; i < STEPS; i++, k += 8) {
            float x[4] = {left(s, k), left(s + 8, k), left(s, k + 4), left(s + 8, k + 4)};
            float x_lead[4], x_rest[4];
            split(x, x_lead, x_rest);
#pragma unroll
            for (int n = 0; n < EIGHTS; n++) {
                multiply(small[n], x_lead, rest[i][n]);
                multiply(sums[n], x_lead, lead[i][n]);
                multiply(small[n], x_rest, lead[i][n]);
            }
        }
#pragma unroll
        for (int n = 0; n < EIGHTS; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[n][i] += small[n][i];
    }
};

/* Shares (groups, SP, stride) of what a warp has, at its own rows, from `column` on. */
template <int EIGHTS>
DEVICE void put_down(float *out, int stride, int group, int row, int column, const float (&sums)[EIGHTS][4])
{
    int lane = threadIdx.x % 32;
    out += (group * SP + row + lane / 4) * stride + column + 2 * (lane % 4);
#pragma unroll
    for (int n = 0; n < EIGHTS; n++, out += 8) {
        *(float2 *)out = make_float2(sums[n][0], sums[n][1]);
        *(float2 *)(out + 8 * stride) = make_float2(sums[n][2], sums[n][3]);
    }
}

DEVICE float add_up(const float *shares, int n, int stride, int row, int column)
{
    float sum = 0.0f;
    shares += row * stride + column;
#pragma unroll
    for (int i = 0; i < n; i++) sum += shares[i * SP * stride];
    return sum;
}

/* ---- pieces that several kernels have ---- */

/* Layer norms of columns of states (D, SS), ROW_LANES threads each. */
struct LayerNorm {
    float weight[EACH_LANE], bias[EACH_LANE];

    MEMBER_FUNCTION explicit LayerNorm(const Arguments &w)
    {
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) {
            weight[i] = w.norm[threadIdx.x % ROW_LANES + i * ROW_LANES];
            bias[i] = w.norm_bias[threadIdx.x % ROW_LANES + i * ROW_LANES];
        }
    }

    MEMBER_FUNCTION void operator()(const float *state, float *normed, float *moments) const
    {
        if (threadIdx.x >= SP * ROW_LANES) return; /* whole warps */
        int row = threadIdx.x / ROW_LANES, lane = threadIdx.x % ROW_LANES;
        float x[EACH_LANE], sum = 0.0f, square = 0.0f;
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) sum += x[i] = state[(lane + i * ROW_LANES) * SS + row];
        float mean = total<ROW_LANES>(sum) / D;
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) x[i] -= mean, square += x[i] * x[i];
        float scale = rsqrtf(total<ROW_LANES>(square) / D + NORM_EPS);
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++)
            normed[(lane + i * ROW_LANES) * SS + row] = x[i] * scale * weight[i] + bias[i];
        if (moments && lane == 0 && row < S) moments[2 * row] = mean, moments[2 * row + 1] = scale;
    }
};

/* exp(score) over the sum of what importance weighs, of LANES states, one a thread. */
DEVICE float share(float score, float importance)
{
    float peak = most<LANES>(importance > 0.0f ? score : -INFINITY);
    float e = expf(fminf(score - peak, MAX_EXPONENT));
    return __fdividef(e, fmaxf(total<LANES>(importance * e), TINY));
}

struct Gated {
    float r, z, n, next;
};

DEVICE Gated gru(float r, float z, float i, float h, float old)
{
    Gated g;
    g.r = sigmoid(r);
    g.z = sigmoid(z);
    g.n = tanh_(i + g.r * h);
    g.next = g.n + g.z * (old - g.n);
    return g;
}

/* ---- forward, chunk by chunk ---- */

CLUSTER_KERNEL(H, BY_TURNS) nsm_advance(const Arguments w)
{
    constexpr int THREADS = BY_TURNS;
    const int h = cluster_rank(), b = blockIdx.x / H, t = threadIdx.x;
    const int n_batch = w.n_batch, n_chunks = w.n_all;
    constexpr int GROUPS = groups(WARPS, SP / 16, D / 8), OF_HEAD = W / 8; /* eights of columns */
    Product<3 * W, D, 3 * W, GROUPS> by_maps, by_state;
    Product<3 * W, 2 * D, 3 * W, GROUPS> by_inputs;
    constexpr int STRIDE = by_maps.STRIDE;
    constexpr int WIDE = 4 * W + 10; /* shares of the gate's arguments: r, z, i, h */
    constexpr int TELLING = W / 16 * (SP / 8); /* tiles of what a head sends */
    float *at = shared_memory();
    float *state = take(at, D * SS), *normed = take(at, D * SS), *inputs = take(at, 2 * D * SS);
    float *parts = take(at, GROUPS * SP * WIDE), *map_b = take(at, 3 * W), *gate_b = take(at, 4 * W);
    float *tokens = take(at, 2 * 2 * C * WS); /* twice: queries, and what is sent */
    float *talk = take(at, S * WS), *keys = take(at, S * WS), *values = take(at, S * WS);
    float *weights = take(at, ROWS * LS), *masses = take(at, H * SP), *importance = take(at, LANES);
    Mail *mail = (Mail *)take(at, 4); /* inputs, states */
    unsigned far[H], fourth[(H + 3) / 4]; /* to all blocks; to each fourth */
#pragma unroll
    for (int rank = 0; rank < H; rank++) far[rank] = distance(rank);
#pragma unroll
    for (int i = 0; i < (H + 3) / 4; i++) fourth[i] = distance((t % 4 + 4 * i) % H);
    auto row_of = [&](int n) { return n / W * D + h * W + n % W; };
    by_maps.load([&](int k, int n) { return w.state_maps[row_of(n) * D + k]; });
    by_state.load([&](int k, int n) { return w.by_state[row_of(n) * D + k]; });
    by_inputs.load([&](int k, int n) { return w.by_input[row_of(n) * 2 * D + k]; });
    LayerNorm layer_norm(w);
    EACH (i, LANES) importance[i] = i < S ? w.importance[i] : 0.0f;
    EACH (i, 3 * W) map_b[i] = w.state_maps_bias[row_of(i)];
    EACH (i, 4 * W) { /* i and h are one argument in torch */
        int part = i / W, d = h * W + i % W;
        gate_b[i] = (part < 3 ? w.input_bias[part * D + d] : 0.0f)
                    + (part < 2 ? w.state_bias[part * D + d] : part == 3 ? w.state_bias[2 * D + d] : 0.0f);
    }
    EACH (i, D * SS) {
        int s = i % SS;
        state[i] = s < S ? w.states[(b * S + s) * D + i / SS] : 0.0f;
        normed[i] = 0.0f;
    }
    EACH (i, 2 * D * SS) inputs[i] = 0.0f;
    EACH (i, H * SP) masses[i] = 0.0f;
    const float *next = w.maps + (long long)b * n_chunks * C * 4 * D + h * W;
    auto fetch = [&](int j) {
        float *to = tokens + j % 2 * 2 * C * WS;
        EACH (i, 2 * C * W / 4) {
            int c = i / (W / 4), a = i % (W / 4) * 4;
            copy(to + c * WS + a, next + c % C * 4 * D + (c < C ? D : 3 * D) + a);
        }
        next += C * 4 * D;
    };
    /* by each block a part of the rows, from the last threads on, so that a warp writes side by side */
    float *written = w.states + (long long)b * S * D + h * S * W;
    auto write_states = [&]() {
        written += (long long)n_batch * S * D;
        for (int i = THREADS - 1 - t; i < S * W; i += THREADS) {
            int n = h * S * W + i;
            written[i] = state[n % D * SS + n / D];
        }
    };
    if (t == 0) mail[0].open(), mail[1].open();
    cluster_sync(); /* no block writes to another before that has begun */
    fetch(0);
    copies_are_done();
    __syncthreads();
    for (int j = 0; j < n_chunks; j++) {
        if (t == 0) mail[0].expect(H * (2 * W + 1) * SP * 4), mail[1].expect(D * SP * 4);
        const float *queries = tokens + j % 2 * 2 * C * WS, *sent = queries + C * WS;
        layer_norm(state, normed, nullptr);
        __syncthreads();
        if (by_maps.works()) {
            float sums[3 * OF_HEAD][4] = {};
            by_maps.add([&](int s, int k) { return normed[k * SS + s]; }, sums);
            put_down(parts, STRIDE, by_maps.group(), by_maps.row(), 0, sums);
        }
        if (j) write_states();
        __syncthreads();
        ROWS_OF (s, a, S, W) {
            if (s >= S) continue;
            talk[s * WS + a] = map_b[a] + add_up(parts, GROUPS, STRIDE, s, a);
            keys[s * WS + a] = map_b[W + a] + add_up(parts, GROUPS, STRIDE, s, W + a);
            values[s * WS + a] = map_b[2 * W + a] + add_up(parts, GROUPS, STRIDE, s, 2 * W + a);
        }
        __syncthreads();
        if (j + 1 < n_chunks) fetch(j + 1);
        {
            const int s = t % LANES, first = t / LANES;
            float x[ASKED];
#pragma unroll
            for (int i = 0; i < ASKED; i++) {
                int row = first + i * (THREADS / LANES);
                const float *query = row < C ? queries + row * WS : talk + (row - C) * WS;
                x[i] = row < ROWS && s < S ? SCALE * dot<W>(query, keys + s * WS) : 0.0f;
            }
#pragma unroll
            for (int i = 0; i < ASKED; i++) x[i] = importance[s] * share(x[i], importance[s]);
#pragma unroll
            for (int i = 0; i < ASKED; i++) {
                int row = first + i * (THREADS / LANES);
                if (row < ROWS) weights[row * LS + s] = x[i];
            }
        }
        __syncthreads();
        /* (16 dimensions, 8 states): what is sent, then what is heard; by warps that have no product */
        for (int i = WARPS - 1 - t / 32; i < 2 * TELLING; i += WARPS) {
            int first = i % (SP / 8) * 8, a = i % TELLING / (SP / 8) * 16, heard = i / TELLING;
            float sums[4] = {}, mass = 0.0f;
            if (heard)
                tile<rounded(S, 8)>(
                    sums, [&](int n, int r) { return r < S ? values[r * WS + a + n] : 0.0f; },
                    [&](int r, int s) {
                        return r < S && first + s < S ? weights[(C + first + s) * LS + r] : 0.0f;
                    });
            else
                tile<rounded(C, 8)>(
                    sums, [&](int n, int c) { return c < C ? sent[c * WS + a + n] : 0.0f; },
                    [&](int c, int s) {
                        float x = c < C && first + s < S ? weights[c * LS + first + s] : 0.0f;
                        mass += x;
                        return x;
                    });
            const int lane = t % 32, g = lane / 4, odd = lane % 2;
            mass = total<4>(mass); /* of state g */
#pragma unroll
            for (int n = 0; n < 4; n++) {
                float of = receive(mass, (lane % 4 * 2 + n % 2) * 4);
                if (!heard) sums[n] *= __fdividef(1.0f, fmaxf(of, LEAST_MASS));
            }
            /* an even lane has four states of dimension g, an odd one of g + 8 */
            float x = exchange(odd ? sums[0] : sums[2], 1, 32), y = exchange(odd ? sums[1] : sums[3], 1, 32);
            float4 four = odd ? make_float4(x, y, sums[2], sums[3]) : make_float4(sums[0], sums[1], x, y);
            float *to = inputs + (heard * D + h * W + a + g + odd * 8) * SS + first + lane % 4 / 2 * 4;
#pragma unroll
            for (int rank = 0; rank < H; rank++) mail[0].put(to, far[rank], four);
            if (!heard && a == 0) { /* masses, four at once */
                float m[4];
#pragma unroll
                for (int n = 0; n < 4; n++) m[n] = receive(mass, (lane % 2 * 4 + n) * 4);
                if (lane < 2)
#pragma unroll
                    for (int rank = 0; rank < H; rank++)
                        mail[0].put(masses + h * SP + first + lane * 4, far[rank],
                                    make_float4(m[0], m[1], m[2], m[3]));
            }
        }
        float sums[3 * OF_HEAD][4] = {}, of_candidate[OF_HEAD][4];
        if (by_state.works()) by_state.add([&](int s, int k) { return state[k * SS + s]; }, sums);
        mail[0].await(j);
        if (by_inputs.works()) {
            /* what inputs and state give is one sum for r and z, and two for the candidate */
#pragma unroll
            for (int i = 0; i < 4 * OF_HEAD; i++) {
                of_candidate[i / 4][i % 4] = sums[2 * OF_HEAD + i / 4][i % 4];
                sums[2 * OF_HEAD + i / 4][i % 4] = 0.0f;
            }
            put_down(parts, WIDE, by_inputs.group(), by_inputs.row(), 3 * W, of_candidate);
            by_inputs.add([&](int s, int k) { return inputs[k * SS + s]; }, sums);
            put_down(parts, WIDE, by_inputs.group(), by_inputs.row(), 0, sums);
        }
        __syncthreads();
        ROWS_OF (a, s, W, SP) {
            float next = 0.0f;
            if (a < W) {
                float of[4], mass = 0.0f;
#pragma unroll
                for (int part = 0; part < 4; part++)
                    of[part] = gate_b[part * W + a] + add_up(parts, GROUPS, WIDE, s, part * W + a);
#pragma unroll
                for (int head = 0; head < H; head++) mass += masses[head * SP + s];
                float old = state[(h * W + a) * SS + s], kept = expf(-mass / H);
                next = gru(of[0], of[1], of[2], of[3], old).next;
                next = s < S ? next + kept * (old - next) : 0.0f;
            }
            put_to_all<H>(mail[1], a < W, state + (h * W + a) * SS + s / 4 * 4, fourth, next);
        }
        copies_are_done();
        mail[1].await(j);
    }
    write_states();
    cluster_sync(); /* no block ends while others may write to it */
}

/* ---- what tokens read, chunk by chunk side by side ---- */

/* Keys and values (NEAR, DS): of the states, then of the chunk before and of this one. */
DEVICE void near_tokens(const Arguments &w, int b, int j, float *keys, float *values)
{
    constexpr int THREADS = AT_ONCE;
    const long long chunk = C * 4 * D;
    const float *from = w.maps + ((long long)b * w.n_all + j - 1) * chunk;
    EACH (i, 2 * C * D) {
        int c = i / D, d = i % D;
        bool there = j > 0 || c >= C;
        const float *row = from + (long long)c * 4 * D + d;
        keys[(S + c) * DS + d] = there ? row[2 * D] : 0.0f;
        values[(S + c) * DS + d] = there ? row[3 * D] : 0.0f;
    }
}

/* Of one token's query with one head's keys: weights (READ_EACH a lane), and what they are without
   importance. */
DEVICE void read_weights(const Arguments &w, int j, int c, const float *query, const float *keys,
                         float (&weights)[READ_EACH], float (&shares)[READ_EACH])
{
    int lane = threadIdx.x % 32;
    float score[READ_EACH], of[READ_EACH], peak = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int n = 0; n < READ_EACH; n++) {
        int i = lane + 32 * n;
        bool there = i < S || (i < NEAR && i - S - C <= c && (j > 0 || i >= S + C));
        of[n] = !there ? 0.0f : i < S ? w.importance[i] : 1.0f;
        score[n] = there ? SCALE * dot<W>(query, keys + i * DS) : -INFINITY;
        if (of[n] > 0.0f) peak = fmaxf(peak, score[n]);
    }
    peak = most<32>(peak);
#pragma unroll
    for (int n = 0; n < READ_EACH; n++) {
        shares[n] = expf(fminf(score[n] - peak, MAX_EXPONENT));
        sum += of[n] * shares[n];
    }
    sum = fmaxf(total<32>(sum), TINY);
#pragma unroll
    for (int n = 0; n < READ_EACH; n++) shares[n] /= sum, weights[n] = of[n] * shares[n];
}

/* Columns (SP) of left (K, SS) @ right' for a row of right (N, K), half of the states a thread. */
template <int K> DEVICE void half_column(const float *left, const float *right, float (&sums)[SP / 2])
{
    for (int k = 0; k < K; k += 4) {
        float4 a = *(const float4 *)(right + k);
        float of[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
        for (int m = 0; m < 4; m++)
#pragma unroll
            for (int s = 0; s < SP / 2; s++) sums[s] += left[(k + m) * SS + s] * of[m];
    }
}

/* Queries (if wanted), keys and values (S, DS) of states (D, SS). */
DEVICE void map_states(const Arguments &w, const float *state, float *normed, float *moments,
                       float *queries, float *keys, float *values)
{
    constexpr int THREADS = AT_ONCE;
    LayerNorm layer_norm(w);
    layer_norm(state, normed, moments);
    __syncthreads();
    int skipped = queries ? 0 : D;
    EACH (i, 2 * (3 * D - skipped)) {
        int n = skipped + i % (3 * D - skipped), first = i / (3 * D - skipped) * (SP / 2), part = n / D;
        float sums[SP / 2] = {}, bias = w.state_maps_bias[n];
        half_column<D>(normed + first, w.state_maps + n * D, sums);
        float *to = (part == 0 ? queries : part == 1 ? keys : values) + n % D;
#pragma unroll
        for (int s = 0; s < SP / 2; s++)
            if (first + s < S) to[(first + s) * DS] = sums[s] + bias;
    }
}

/* States (S, D) as columns (D, SS), those that are not there zero. */
DEVICE void load_states(const float *from, float *state)
{
    constexpr int THREADS = AT_ONCE;
    EACH (i, S * D) state[i % D * SS + i / D] = from[i];
    EACH (i, (SP - S) * D) state[i % D * SS + S + i / D] = 0.0f;
}

KERNEL(AT_ONCE) nsm_read(const Arguments w)
{
    constexpr int THREADS = AT_ONCE;
    const int j = blockIdx.x / w.n_batch, b = blockIdx.x % w.n_batch, warp = threadIdx.x / 32;
    float *at = shared_memory();
    float *state = take(at, D * SS), *normed = take(at, D * SS), *queries = take(at, C * DS);
    float *keys = take(at, NEAR * DS), *values = take(at, NEAR * DS), *weights = take(at, AT_ONCE / 32 * NS);
    const long long chunk = (long long)b * w.n_all + j;
    EACH (i, C * D) queries[i / D * DS + i % D] = w.maps[(chunk * C + i / D) * 4 * D + i % D];
    near_tokens(w, b, j, keys, values);
    load_states(w.states + ((long long)j * w.n_batch + b) * S * D, state);
    __syncthreads();
    map_states(w, state, normed, nullptr, nullptr, keys, values);
    __syncthreads();
    for (int i = warp; i < H * C; i += THREADS / 32) {
        int h = i / C, c = i % C, lane = threadIdx.x % 32;
        float of[READ_EACH], shares[READ_EACH];
        read_weights(w, j, c, queries + c * DS + h * W, keys + h * W, of, shares);
#pragma unroll
        for (int n = 0; n < READ_EACH; n++)
            if (lane + 32 * n < NEAR) weights[warp * NS + lane + 32 * n] = of[n];
        __syncwarp();
        for (int a = lane; a < W; a += 32) {
            float sum = 0.0f;
            for (int n = 0; n < NEAR; n++) sum += weights[warp * NS + n] * values[n * DS + h * W + a];
            w.found[(chunk * C + c) * D + h * W + a] = sum;
        }
        __syncwarp();
    }
}

/* ---- backward: what went on in each chunk, and all that does not wait for another ---- */

KERNEL(AT_ONCE) nsm_recall(const Arguments w)
{
    constexpr int THREADS = AT_ONCE;
    const int n_batch = w.n_batch, b = blockIdx.x % n_batch, at_k = blockIdx.x / n_batch;
    const int j = w.first + at_k, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const long long here = (long long)at_k * n_batch + b, chunk = (long long)b * w.n_all + j;
    float *at = shared_memory();
    float *state = take(at, D * SS), *normed = take(at, D * SS), *inputs = take(at, 2 * D * SS);
    float *asks = take(at, ROWS * DS), *sent = take(at, C * DS), *weights = take(at, H * ROWS * LS);
    float *masses = take(at, H * SP), *gate = take(at, 4 * D * SS);
    float *queries = take(at, C * DS), *grads = take(at, C * DS);
    float *keys = take(at, NEAR * DS), *values = take(at, NEAR * DS);
    float *read = take(at, H * C * NS), *d_scores = take(at, H * C * NS), *by_share = take(at, H * C * S);
    float *notes = w.notes + here * H * NOTES;
    load_states(w.states + ((long long)j * n_batch + b) * S * D, state);
    EACH (i, 2 * D * SS) inputs[i] = 0.0f;
    EACH (i, C * D) {
        int c = i / D, d = i % D;
        const float *of = w.maps + (chunk * C + c) * 4 * D + d;
        float *note = notes + d / W * NOTES + c * WS + d % W;
        queries[c * DS + d] = of[0];
        note[ASKS] = asks[c * DS + d] = of[D];
        note[SENT] = sent[c * DS + d] = of[3 * D];
        grads[c * DS + d] = w.d_found[(chunk * C + c) * D + d];
    }
    near_tokens(w, b, j, keys, values);
    __syncthreads();
    map_states(w, state, normed, w.moments + here * S * 2, asks + C * DS, keys, values);
    __syncthreads();
    EACH (i, S * D) {
        int s = i / D, d = i % D;
        float *note = notes + d / W * NOTES + s * WS + d % W;
        note[ASKS + C * WS] = asks[(C + s) * DS + d];
        note[KEYS] = keys[s * DS + d];
        note[VALUES] = values[s * DS + d];
        w.normed[(here * S + s) * NORMED + d] = normed[d * SS + s];
        w.seen[(here * S + s) * SEEN + 2 * D + d] = state[d * SS + s];
    }
    EACH (s, S) w.normed[(here * S + s) * NORMED + D] = w.seen[(here * S + s) * SEEN + 3 * D] = 1.0f;
    ROWS_OF (of, s, H * ROWS, LANES) {
        int h = of / ROWS, row = of % ROWS;
        bool there = h < H && s < S;
        float importance = there ? w.importance[s] : 0.0f;
        float score = there ? SCALE * dot<W>(asks + row * DS + h * W, keys + s * DS + h * W) : 0.0f;
        float x = share(score, importance);
        if (there) notes[h * NOTES + SHARES + row * S + s] = x;
        if (h < H) weights[of * LS + s] = importance * x;
    }
    __syncthreads();
    EACH (i, 2 * D * SP) {
        int s = i % SP, d = i / SP % D, heard = i / (SP * D), h = d / W;
        if (s >= S) continue;
        float sum = 0.0f, mass = 0.0f;
        const float *of = weights + h * ROWS * LS;
        if (heard)
            for (int r = 0; r < S; r++) sum += of[(C + s) * LS + r] * values[r * DS + d];
        else {
            for (int c = 0; c < C; c++) {
                float x = of[c * LS + s];
                mass += x;
                sum += x * sent[c * DS + d];
            }
            sum /= fmaxf(mass, LEAST_MASS);
            notes[h * NOTES + MESSAGES + s * WS + d % W] = sum;
            if (d % W == 0) masses[h * SP + s] = notes[h * NOTES + MASS + s] = mass;
        }
        inputs[(heard * D + d) * SS + s] = sum;
    }
    __syncthreads();
    EACH (i, S * 2 * D)
        w.seen[(here * S + i / (2 * D)) * SEEN + i % (2 * D)] = inputs[i % (2 * D) * SS + i / (2 * D)];
    for (int i = threadIdx.x; i < 2 * 3 * D; i += THREADS) {
        int n = i % (3 * D), first = i / (3 * D) * (SP / 2), d = n % D, part = n / D;
        float by_state[SP / 2] = {}, sums[SP / 2] = {};
        half_column<2 * D>(inputs + first, w.by_input + n * 2 * D, sums);
        half_column<D>(state + first, w.by_state + n * D, by_state);
        for (int s = 0; s < SP / 2; s++) {
            float x = sums[s] + w.input_bias[n], y = by_state[s] + w.state_bias[n];
            if (part < 2)
                gate[(part * D + d) * SS + first + s] = x + y;
            else {
                gate[(2 * D + d) * SS + first + s] = x;
                gate[(3 * D + d) * SS + first + s] = y;
            }
        }
    }
    __syncthreads();
    EACH (i, S * D) {
        int s = i / D, d = i % D;
        float mass = 0.0f, of[4], old = state[d * SS + s];
        for (int h = 0; h < H; h++) mass += masses[h * SP + s];
        for (int part = 0; part < 4; part++) of[part] = gate[(part * D + d) * SS + s];
        float kept = expf(-mass / H), moved = 1.0f - kept;
        Gated g = gru(of[0], of[1], of[2], of[3], old);
        float d_n = moved * (1.0f - g.z) * (1.0f - g.n * g.n), *out = w.by_gate + (here * S + s) * GS + d;
        out[0] = d_n;
        out[D] = d_n * of[3] * g.r * (1.0f - g.r);
        out[2 * D] = moved * (old - g.n) * g.z * (1.0f - g.z);
        out[3 * D] = d_n * g.r;
        w.direct[here * S * D + i] = kept + moved * g.z;
        w.change[here * S * D + i] = (old - g.next) * -kept / H;
    }
    for (int i = warp; i < H * C; i += THREADS / 32) {
        int h = i / C, c = i % C;
        float of[READ_EACH], shares[READ_EACH], by_weight[READ_EACH], along = 0.0f;
        read_weights(w, j, c, queries + c * DS + h * W, keys + h * W, of, shares);
#pragma unroll
        for (int n = 0; n < READ_EACH; n++) {
            int m = lane + 32 * n;
            by_weight[n] = m < NEAR ? dot<W>(grads + c * DS + h * W, values + m * DS + h * W) : 0.0f;
            along += of[n] * by_weight[n];
        }
        along = total<32>(along);
#pragma unroll
        for (int n = 0; n < READ_EACH; n++) {
            int m = lane + 32 * n;
            if (m >= NEAR) continue;
            read[i * NS + m] = of[n];
            d_scores[i * NS + m] = SCALE * of[n] * (by_weight[n] - along);
            if (m < S) by_share[i * S + m] = shares[n] * (by_weight[n] - along);
        }
    }
    __syncthreads();
    EACH (s, S) {
        float sum = 0.0f;
        for (int i = 0; i < H * C; i++) sum += by_share[i * S + s];
        w.d_read_importance[((long long)j * n_batch + b) * S + s] = sum;
    }
    EACH (i, C * D) {
        int c = i / D, d = i % D;
        const float *of = d_scores + (d / W * C + c) * NS;
        float sum = 0.0f;
        for (int m = 0; m < NEAR; m++) sum += of[m] * keys[m * DS + d];
        w.d_maps[(chunk * C + c) * 4 * D + d] = sum;
    }
    EACH (i, NEAR * D) {
        int m = i / D, d = i % D, h = d / W;
        if (m >= S && m < S + C && j == 0) continue;
        float d_key = 0.0f, d_value = 0.0f;
        for (int c = 0; c < C; c++) {
            d_key += d_scores[(h * C + c) * NS + m] * queries[c * DS + d];
            d_value += read[(h * C + c) * NS + m] * grads[c * DS + d];
        }
        if (m < S) {
            float *to = notes + h * NOTES + D_READ + m * W + d % W;
            to[0] = d_key;
            to[S * W] = d_value;
        } else { /* two chunks add, to nothing: in either order it is the same */
            float *to = w.d_maps + ((chunk - 1) * C + m - S) * 4 * D + d;
            atomicAdd(to + 2 * D, d_key);
            atomicAdd(to + 3 * D, d_value);
        }
    }
}

/* ---- backward, chunk by chunk from the last ---- */

CLUSTER_KERNEL(H, BY_TURNS) nsm_retreat(const Arguments w)
{
    constexpr int THREADS = BY_TURNS;
    const int h = cluster_rank(), b = blockIdx.x / H, t = threadIdx.x;
    const int n_batch = w.n_batch, n_chunks = w.n_chunks;
    constexpr int GROUPS = groups(WARPS, SP / 16, 4 * D / 8);
    constexpr int MAP_GROUPS = groups(WARPS, SP / 16 * (D / 16), 3 * W / 8);
    Product<3 * W, 4 * D, 3 * W, GROUPS> by_gate; /* to what a head told, heard, and its own of the state */
    Product<D, 3 * W, 16, MAP_GROUPS> by_maps;
    constexpr int FAR = D + ROW_LANES; /* from state to state of what blocks send */
    constexpr int PARTS = by_gate.SIZE > by_maps.SIZE ? by_gate.SIZE : by_maps.SIZE;
    constexpr int TELLING = W / 16 * (SP / 8);
    constexpr int ROW_NOTES = S * GS + 3 * S * D;
    float *at = shared_memory();
    float *g = take(at, SP * DS), *parts = take(at, PARTS), *results = take(at, RESULTS);
    float *d_scores = results + D_SCORES, *d_sent = results + D_SENT, *d_own = take(at, 3 * W * SS);
    float *given = take(at, 2 * (H + 1) * SP * FAR); /* twice: by each head, and by the gate */
    float *all_notes = take(at, 2 * (NOTES + ROW_NOTES));
    float *by_kept = take(at, SP), *importance = take(at, LANES), *d_heard = take(at, S * WS);
    Mail *mail = (Mail *)take(at, 8); /* given, twice; notes, twice */
    unsigned fourth[(H + 3) / 4]; /* to each fourth block */
#pragma unroll
    for (int i = 0; i < (H + 3) / 4; i++) fourth[i] = distance((t % 4 + 4 * i) % H);
    /* rows are i, r, z, h; in torch i is the third of the inputs', h of the state's */
    by_gate.load([&](int k, int n) {
        int part = n / W, d = h * W + n % W, row = (k < D ? 2 * D : -D) + k;
        if (part < 2) return k < 3 * D ? w.by_input[row * 2 * D + part * D + d] : 0.0f;
        return k < D ? 0.0f : w.by_state[(k - D) * D + d];
    });
    by_maps.load([&](int k, int n) { return w.state_maps[(k / W * D + h * W + k % W) * D + n]; });
    EACH (i, LANES) importance[i] = i < S ? w.importance[i] : 0.0f;
    EACH (i, RESULTS) results[i] = 0.0f;
    EACH (i, 3 * W * SS) d_own[i] = 0.0f;
    EACH (i, 2 * (H + 1) * SP * FAR) given[i] = 0.0f;
    EACH (i, 2 * (NOTES + ROW_NOTES)) all_notes[i] = 0.0f;
    EACH (i, SP * D) {
        int s = i / D, d = i % D;
        g[s * DS + d] = s < S ? w.carried[((long long)b * S + s) * D + d] : 0.0f;
    }
    const int row = t / ROW_LANES, lane = t % ROW_LANES;
    const bool has_row = row < S;
    float norm[EACH_LANE], d_norm[EACH_LANE] = {}, d_bias[EACH_LANE] = {};
#pragma unroll
    for (int i = 0; i < EACH_LANE; i++) norm[i] = w.norm[lane + i * ROW_LANES];
    float d_importance[ASKED] = {};
    /* the next chunk's are on their way while this one's are used */
    auto fetch = [&](int k) {
        const long long here = (long long)k * n_batch + b;
        float *to = all_notes + k % 2 * (NOTES + ROW_NOTES);
        Mail &notes = mail[2 + k % 2];
        notes.expect((NOTES + S * GS + 3 * S * D) * 4);
        notes.fetch(to, w.notes + (here * H + h) * NOTES, NOTES);
        notes.fetch(to += NOTES, w.by_gate + here * S * GS, S * GS);
        notes.fetch(to += S * GS, w.direct + here * S * D, S * D);
        notes.fetch(to += S * D, w.change + here * S * D, S * D);
        notes.fetch(to += S * D, w.states + ((long long)(w.first + k) * n_batch + b) * S * D, S * D);
    };
    if (t < 4) mail[t].open();
    cluster_sync();
    if (t == 0) fetch(n_chunks - 1);
    for (int k = n_chunks - 1; k >= 0; k--) {
        const long long here = (long long)k * n_batch + b;
        const int half = k % 2, round = (n_chunks - 1 - k) / 2;
        float *taken = given + half * (H + 1) * SP * FAR;
        const float *notes = all_notes + half * (NOTES + ROW_NOTES), *gates = notes + NOTES;
        const float *direct = gates + S * GS, *change = direct + S * D, *states = change + S * D;
        const float *asks = notes + ASKS, *keys = notes + KEYS, *values = notes + VALUES;
        const float *sent = notes + SENT, *messages = notes + MESSAGES, *d_read = notes + D_READ;
        const float *shares = notes + SHARES, *mass = notes + MASS;
        float mean = 0.0f, scale = 0.0f;
        if (t == 0) mail[half].expect(H * S * (D + W) * 4);
        if (has_row) {
            mean = w.moments[(here * S + row) * 2];
            scale = w.moments[(here * S + row) * 2 + 1];
        }
        mail[2 + half].await(round);
        if (by_gate.works()) {
            float sums[3 * W / 8][4] = {};
            by_gate.add(
                [&](int s, int n) { return s < S ? gates[s * GS + n] * g[s * DS + n % D] : 0.0f; }, sums);
            put_down(parts, by_gate.STRIDE, by_gate.group(), by_gate.row(), 0, sums);
        }
        if (t >= THREADS - SP * 8) { /* whole warps, the last */
            int s = (t - THREADS + SP * 8) / 8;
            float sum = 0.0f;
            for (int d = t % 8; d < D && s < S; d += 8) sum += g[s * DS + d] * change[s * D + d];
            sum = total<8>(sum);
            if (t % 8 == 0) by_kept[s] = sum;
        }
        if (k && t == THREADS - 32) fetch(k - 1);
        __syncthreads();
        ROWS_OF (s, a, S, W) {
            bool there = s < S;
            float x[3] = {};
#pragma unroll
            for (int part = 0; part < 3; part++)
                if (there) x[part] = add_up(parts, GROUPS, by_gate.STRIDE, s, part * W + a);
            if (there) {
                d_sent[s * WS + a] = __fdividef(x[0], fmaxf(mass[s], LEAST_MASS));
                d_heard[s * WS + a] = x[1];
            }
            put_to_all<H>(mail[half], there, taken + (H * SP + s) * FAR + h * W + a / 4 * 4, fourth, x[2]);
        }
        __syncthreads();
        {
            const int s = t % LANES, first = t / LANES;
            const float weight = importance[s];
            float d[ASKED], of[ASKED], along[ASKED], by_message = by_kept[s < S ? s : 0];
            if (s < S && mass[s] > LEAST_MASS) by_message -= dot<W>(d_sent + s * WS, messages + s * WS);
#pragma unroll
            for (int n = 0; n < ASKED; n++) {
                int r = first + n * (THREADS / LANES);
                bool there = r < ROWS && s < S;
                of[n] = there ? shares[r * S + s] : 0.0f;
                const float *x = r < C ? d_sent + s * WS : values + s * WS;
                const float *y = r < C ? sent + r * WS : d_heard + (r - C) * WS;
                d[n] = there ? dot<W>(x, y) + (r < C ? by_message : 0.0f) : 0.0f;
            }
#pragma unroll
            for (int n = 0; n < ASKED; n++) along[n] = total<LANES>(d[n] * weight * of[n]);
#pragma unroll
            for (int n = 0; n < ASKED; n++) {
                int r = first + n * (THREADS / LANES);
                d[n] = (d[n] - along[n]) * of[n];
                d_importance[n] += d[n];
                if (r < ROWS) d_scores[r * LS + s] = SCALE * d[n] * weight;
            }
        }
        __syncthreads();
        /* (16 dimensions, 8 states) of a state's query, key and value */
        for (int i = t / 32; i < 3 * TELLING; i += WARPS) {
            int first = i % (SP / 8) * 8, a = i % TELLING / (SP / 8) * 16, part = i / TELLING;
            float sums[4] = {};
            if (part == 0)
                tile<rounded(S, 8)>(
                    sums, [&](int n, int r) { return r < S ? keys[r * WS + a + n] : 0.0f; },
                    [&](int r, int s) {
                        return r < S && first + s < S ? d_scores[(C + first + s) * LS + r] : 0.0f;
                    });
            else if (part == 1)
                tile<rounded(ROWS, 8)>(
                    sums, [&](int n, int r) { return r < ROWS ? asks[r * WS + a + n] : 0.0f; },
                    [&](int r, int s) {
                        return r < ROWS && first + s < S ? d_scores[r * LS + first + s] : 0.0f;
                    });
            else
                tile<rounded(S, 8)>(
                    sums, [&](int n, int r) { return r < S ? d_heard[r * WS + a + n] : 0.0f; },
                    [&](int r, int s) {
                        return r < S && first + s < S ? shares[(C + r) * S + first + s] : 0.0f;
                    });
            const int lane = t % 32;
#pragma unroll
            for (int n = 0; n < 4; n++) {
                int s = first + lane % 4 * 2 + n % 2, d = a + lane / 4 + n / 2 * 8;
                if (s >= S) continue;
                float x = part == 2 ? sums[n] * importance[s] : sums[n];
                if (part) x += d_read[(part - 1) * S * W + s * W + d];
                d_own[(part * W + d) * SS + s] = x;
            }
        }
        __syncthreads();
        if (by_maps.works()) {
            float sums[2][4] = {};
            by_maps.add([&](int s, int n) { return d_own[n * SS + s]; }, sums);
            put_down(parts, by_maps.STRIDE, by_maps.group(), by_maps.row(), by_maps.column(), sums);
        }
        __syncthreads();
        ROWS_OF (s, d, S, D) {
            float x = s < S ? add_up(parts, MAP_GROUPS, by_maps.STRIDE, s, d) : 0.0f;
            put_to_all<H>(mail[half], s < S, taken + (h * SP + s) * FAR + d / 4 * 4, fourth, x);
        }
        /* while that is under way */
        EACH (i, RESULTS / 4)
            ((float4 *)(w.results + (here * H + h) * RESULTS))[i] = ((const float4 *)results)[i];
        ROWS_OF (s, a, S, W)
            if (s < S)
#pragma unroll
                for (int part = 0; part < 3; part++)
                    w.d_own[(here * S + s) * 3 * D + part * D + h * W + a] = d_own[(part * W + a) * SS + s];
        mail[half].await(round);
        __syncthreads(); /* all have used the gradient that changes now */
        if (t < SP * ROW_LANES) {
            float sum = 0.0f, along = 0.0f, x[EACH_LANE] = {}, unit[EACH_LANE] = {};
            if (has_row)
#pragma unroll
                for (int i = 0; i < EACH_LANE; i++) {
                    int d = lane + i * ROW_LANES;
#pragma unroll
                    for (int head = 0; head < H; head++) x[i] += taken[(head * SP + row) * FAR + d];
                    unit[i] = (states[row * D + d] - mean) * scale;
                    d_norm[i] += x[i] * unit[i];
                    d_bias[i] += x[i];
                    x[i] *= norm[i];
                    sum += x[i];
                    along += x[i] * unit[i];
                }
            sum = total<ROW_LANES>(sum) / D;
            along = total<ROW_LANES>(along) / D;
            if (has_row)
#pragma unroll
                for (int i = 0; i < EACH_LANE; i++) {
                    int d = lane + i * ROW_LANES;
                    if (d / W == h) /* all blocks have read it */
#pragma unroll
                        for (int part = 0; part < 4; part++)
                            w.by_gate[(here * S + row) * GS + part * D + d] =
                                gates[row * GS + part * D + d] * g[row * DS + d];
                    g[row * DS + d] = g[row * DS + d] * direct[row * D + d]
                                      + taken[(H * SP + row) * FAR + d]
                                      + scale * (x[i] - sum - unit[i] * along);
                }
        }
        __syncthreads();
    }
    if (has_row && h == 0)
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) {
            const long long here = (long long)b * S + row;
            int d = lane + i * ROW_LANES;
            w.carried[here * D + d] = g[row * DS + d];
            w.d_norm[here * 2 * D + d] += d_norm[i];
            w.d_norm[here * 2 * D + D + d] += d_bias[i];
        }
#pragma unroll
    for (int n = 0; n < ASKED; n++) {
        int i = n * THREADS + t;
        if (i < ROWS * LANES) w.d_importance[((long long)b * H + h) * ROWS * LANES + i] += d_importance[n];
    }
    cluster_sync();
}

/* ---- and what nothing waited for, chunk by chunk side by side ---- */

KERNEL(AT_ONCE) nsm_settle(const Arguments w)
{
    constexpr int THREADS = AT_ONCE;
    const int b = blockIdx.x % w.n_batch, k = blockIdx.x / w.n_batch;
    const long long here = (long long)k * w.n_batch + b;
    float *d_tokens = w.d_maps + ((long long)b * w.n_all + w.first + k) * C * 4 * D;
    EACH (i, C * D) {
        int c = i / D, d = i % D, h = d / W, a = d % W;
        const float *notes = w.notes + (here * H + h) * NOTES;
        const float *results = w.results + (here * H + h) * RESULTS;
        float x = 0.0f, y = 0.0f;
        for (int s = 0; s < S; s++) {
            x += results[D_SCORES + c * LS + s] * notes[KEYS + s * WS + a];
            y += notes[SHARES + c * S + s] * w.importance[s] * results[D_SENT + s * WS + a];
        }
        d_tokens[c * 4 * D + D + d] = x;
        d_tokens[c * 4 * D + 3 * D + d] += y;
    }
}

/* ---- gradients of the parameters, from sums over all chunks ---- */

/* 1 + 3 D blocks: what is summed over sequences, and a row of the matrices each. */
KERNEL(AT_ONCE) nsm_finish(const Arguments w)
{
    constexpr int THREADS = AT_ONCE;
    const int n_batch = w.n_batch;
    if (blockIdx.x) {
        const int row = blockIdx.x - 1; /* in torch's order: r, z, and i or h */
        const float *input = w.of_gate + (row < 2 * D ? D + row : row - 2 * D) * (3 * D + 1);
        const float *state = w.of_gate + (D + row) * (3 * D + 1), *maps = w.of_maps + row * (D + 1);
        EACH (i, 2 * D) w.to_by_input[row * 2 * D + i] = input[i];
        EACH (i, D) {
            w.to_by_state[row * D + i] = state[2 * D + i];
            w.to_state_maps[row * D + i] = maps[i];
        }
        if (threadIdx.x == 0) {
            w.to_input_bias[row] = input[3 * D];
            w.to_state_bias[row] = state[3 * D];
            w.to_state_maps_bias[row] = maps[D];
        }
        return;
    }
    EACH (i, S * D) {
        float sum = 0.0f;
        for (int b = 0; b < n_batch; b++) sum += w.carried[b * S * D + i];
        w.to_initial[i] = sum;
    }
    EACH (i, 2 * D) {
        float sum = 0.0f;
        for (int n = 0; n < n_batch * S; n++) sum += w.d_norm[n * 2 * D + i];
        (i < D ? w.to_norm : w.to_norm_bias)[i % D] = sum;
    }
    /* a share of the rows a thread */
    float *shares = shared_memory(), sum = 0.0f;
    const int s = threadIdx.x % LANES;
    for (int n = threadIdx.x / LANES; n < n_batch * H * ROWS; n += THREADS / LANES)
        sum += w.d_importance[n * LANES + s];
    for (long long n = threadIdx.x / LANES; n < w.n_all * n_batch && s < S; n += THREADS / LANES)
        sum += w.d_read_importance[n * S + s];
    shares[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x < S) {
        sum = 0.0f;
        for (int n = 0; n < THREADS / LANES; n++) sum += shares[n * LANES + threadIdx.x];
        w.to_importance[threadIdx.x] = sum;
    }
}
