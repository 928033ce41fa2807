/* A state mixer, forward and backward: `clso.models.nsm_mixer` and `nsm_recurrence` have the words,
   the letters of shapes, and the same in plain torch.

   Chunks are gone through one by one by a cluster of H blocks for each sequence. A block has the
   weights of one head, and of that head's W dimensions of the gate, in shared memory, and a copy of
   all states; what its head makes of a chunk it writes into the shared memory of all. All that does
   not depend on the chunk before (forward) or after (backward) is done by one block a chunk.

   D, H, C, S and SCALE are given by the compiler's command line. */

#include "common.cuh"

constexpr int W = D / H, THREADS = 512, WARPS = THREADS / 32;
constexpr int SP = rounded(S, 4), SS = SP + 4; /* states in a column, and from column to column */
constexpr int WS = W + 4, DS = D + 4, ROWS = C + S;
constexpr int LANES = S <= 4 ? 4 : S <= 8 ? 8 : S <= 16 ? 16 : 32; /* one for each state */
constexpr int LS = LANES + 1;
constexpr int ROW_LANES = 16, EACH_LANE = D / ROW_LANES; /* that share a state's dimensions */
constexpr int NEAR = S + 2 * C, NS = NEAR + 1;           /* what a token may read */
constexpr int READ_EACH = (NEAR + 31) / 32;
constexpr float LEAST_MASS = 1e-6f, TINY = 1e-20f, NORM_EPS = 1e-5f, MAX_EXPONENT = 30.0f;

static_assert(D % ROW_LANES == 0 && W % 4 == 0 && S <= 32 && SP * ROW_LANES <= THREADS, "sizes");

struct Arguments {
    long long n_batch, n_chunks, first, n_all; /* B; K chunks, from `first`, of J */
    const float *maps; /* (B, J, C, 4 D): tokens' read query, route query, key and value */
    const float *norm, *norm_bias, *state_maps, *state_maps_bias; /* (3 D, D): query, key, value */
    const float *by_input, *by_state, *input_bias, *state_bias;   /* a GRU's in torch's order */
    const float *importance;
    float *states, *keys;     /* (J + 1, B, S, D), (J, B, S, 2 D): and values */
    float *found;             /* (B, J, C, D): what tokens read */
    const float *d_found;
    float *own, *normed, *moments;  /* (K, B, H, 3, S, W), (K, B, S, D), (K, B, S, 2) */
    float *inputs, *by_gate;        /* (K, B, S, 2 D), (K, B, S, 4 D): i, r, z, h */
    float *direct, *change;         /* (K, B, S, D) */
    float *shares, *mass, *d_read;  /* (K, B, H, C + S, S), (K, B, H, S), (K, B, H, 2, S, W) */
    float *d_read_importance;       /* (K, B, S) */
    float *d_maps;                  /* as maps; zeros at first */
    float *d_gate, *d_own;          /* (K, B, S, 4 D), (K, B, S, 3 D) */
    float *carried;                 /* (B, S, D): gradient of the states after, then before all */
    float *d_norm, *d_importance;   /* (B, S, 2 D), (B, H, C + S, LANES): added to */
};

/* ---- products: a thread has 4 rows and 4 columns of one of several shares of the sum over K ---- */

template <int N, int K> struct Product {
    static constexpr int GROUPS = groups(THREADS, SP, N, K), TILES = SP / 4 * (N / 4);
    static constexpr int STRIDE = N + 4, SIZE = GROUPS * SP * STRIDE;

    MEMBER bool works() { return threadIdx.x < TILES * GROUPS; }
    MEMBER int row() { return threadIdx.x % TILES / (N / 4) * 4; }
    MEMBER int column() { return threadIdx.x % TILES % (N / 4) * 4; }
    MEMBER int group() { return threadIdx.x / TILES; }

    /* left (K, SS) holds columns, right (K, N) rows */
    MEMBER void add(const float *left, const float *right, float (&sums)[4][4])
    {
        left += group() * SS + row();
        right += group() * N + column();
#pragma unroll 4
        for (int k = 0; k < K / GROUPS; k++, left += GROUPS * SS, right += GROUPS * N) {
            float4 a = *(const float4 *)left, b = *(const float4 *)right;
            float x[4] = {a.x, a.y, a.z, a.w}, y[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int m = 0; m < 4; m++) sums[i][m] += x[i] * y[m];
        }
    }
};

/* Shares (GROUPS, SP, stride) of what a thread has, at its own rows, from `column` on. */
DEVICE void put_down(float *out, int stride, int group, int row, int column,
                     const float (&sums)[4][4])
{
    out += (group * SP + row) * stride + column;
#pragma unroll
    for (int i = 0; i < 4; i++, out += stride)
        *(float4 *)out = make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
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
DEVICE void layer_norm(const Arguments &w, const float *state, float *normed, float *moments)
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
    for (int i = 0; i < EACH_LANE; i++) {
        int d = lane + i * ROW_LANES;
        normed[d * SS + row] = x[i] * scale * w.norm[d] + w.norm_bias[d];
    }
    if (moments && lane == 0 && row < S) moments[2 * row] = mean, moments[2 * row + 1] = scale;
}

/* exp(score) over the sum of what importance weighs, of LANES states, one a thread. */
DEVICE float share(float score, float importance)
{
    float peak = most<LANES>(importance > 0.0f ? score : -INFINITY);
    float e = expf(fminf(score - peak, MAX_EXPONENT));
    return e / fmaxf(total<LANES>(importance * e), TINY);
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

KERNEL(H, THREADS) nsm_advance(const Arguments w)
{
    const int h = cluster_rank(), b = blockIdx.x / H, t = threadIdx.x;
    const int n_batch = w.n_batch, n_chunks = w.n_all;
    using OfState = Product<3 * W, D>;
    using OfInputs = Product<3 * W, 2 * D>;
    constexpr int WIDE = 4 * W + 4; /* shares of the gate's arguments: r, z, i, h */
    static_assert(OfState::GROUPS == OfInputs::GROUPS, "a thread goes on with what it has");
    float *at = shared_memory();
    float *map_w = take(at, D * 3 * W), *state_w = take(at, D * 3 * W);
    float *input_w = take(at, 2 * D * 3 * W), *map_b = take(at, 3 * W), *gate_b = take(at, 4 * W);
    float *state = take(at, D * SS), *normed = take(at, D * SS), *inputs = take(at, 2 * D * SS);
    float *parts = take(at, OfState::GROUPS * SP * WIDE);
    float *asks = take(at, ROWS * WS), *keys = take(at, S * WS), *values = take(at, S * WS);
    float *sent = take(at, C * WS), *weights = take(at, ROWS * LS), *masses = take(at, H * SP);
    float *importance = take(at, LANES);
    Mail *mail = (Mail *)take(at, 4);
    for (int i = t; i < LANES; i += THREADS) importance[i] = i < S ? w.importance[i] : 0.0f;
    for (int i = t; i < D * 3 * W; i += THREADS) {
        int k = i % D, n = i / D, row = n / W * D + h * W + n % W;
        map_w[k * 3 * W + n] = w.state_maps[row * D + k] * (n < W ? SCALE : 1.0f);
        state_w[k * 3 * W + n] = w.by_state[row * D + k];
    }
    for (int i = t; i < 2 * D * 3 * W; i += THREADS) {
        int k = i % (2 * D), n = i / (2 * D), row = n / W * D + h * W + n % W;
        input_w[k * 3 * W + n] = w.by_input[row * 2 * D + k];
    }
    for (int i = t; i < 3 * W; i += THREADS)
        map_b[i] = w.state_maps_bias[i / W * D + h * W + i % W] * (i < W ? SCALE : 1.0f);
    for (int i = t; i < 4 * W; i += THREADS) {
        int part = i / W, d = h * W + i % W; /* i and h are one argument in torch */
        gate_b[i] = (part < 3 ? w.input_bias[part * D + d] : 0.0f)
                    + (part < 2 ? w.state_bias[part * D + d] : part == 3 ? w.state_bias[2 * D + d] : 0.0f);
    }
    for (int i = t; i < D * SS; i += THREADS) {
        int s = i % SS;
        state[i] = s < S ? w.states[(b * S + s) * D + i / SS] : 0.0f;
    }
    for (int i = t; i < 2 * D * SS; i += THREADS) inputs[i] = 0.0f;
    for (int i = t; i < H * SP; i += THREADS) masses[i] = 0.0f;
    constexpr int AHEAD = (2 * C * W + THREADS - 1) / THREADS;
    float ahead[AHEAD];
    auto fetch = [&](int j) {
        const float *from = w.maps + ((long long)b * n_chunks + j) * C * 4 * D + h * W;
#pragma unroll
        for (int n = 0; n < AHEAD; n++) {
            int i = t + n * THREADS, c = i / W % C, a = i % W, value = i / (W * C);
            if (i < 2 * C * W) ahead[n] = from[c * 4 * D + (value ? 3 * D : D) + a];
        }
    };
    auto keep = [&]() {
#pragma unroll
        for (int n = 0; n < AHEAD; n++) {
            int i = t + n * THREADS, c = i / W % C, a = i % W;
            if (i < C * W)
                asks[c * WS + a] = ahead[n] * SCALE;
            else if (i < 2 * C * W)
                sent[c * WS + a] = ahead[n];
        }
    };
    fetch(0);
    keep();
    if (t == 0) mail[0].open(), mail[1].open();
    cluster_sync(); /* no block writes to another before that has begun */
    for (int j = 0; j < n_chunks; j++) {
        if (t == 0) mail[0].expect(H * (2 * W + 1) * SP * 4), mail[1].expect(D * SP * 4);
        if (j + 1 < n_chunks) fetch(j + 1);
        layer_norm(w, state, normed, nullptr);
        __syncthreads();
        float sums[4][4] = {};
        if (OfState::works()) {
            OfState::add(normed, map_w, sums);
            put_down(parts, OfState::STRIDE, OfState::group(), OfState::row(), OfState::column(), sums);
        }
        __syncthreads();
        EACH (i, S * 3 * W) {
            int s = i / (3 * W), n = i % (3 * W), a = n % W;
            float x = map_b[n] + add_up(parts, OfState::GROUPS, OfState::STRIDE, s, n);
            (n < W ? asks + (C + s) * WS : n < 2 * W ? keys + s * WS : values + s * WS)[a] = x;
            if (n >= W)
                w.keys[(((long long)j * n_batch + b) * S + s) * 2 * D + (n / W - 1) * D + h * W + a] = x;
        }
        __syncthreads();
        ALL (i, ROWS * LANES) {
            int row = i / LANES, s = i % LANES;
            bool there = row < ROWS && s < S;
            float score = there ? dot<W>(asks + row * WS, keys + s * WS) : 0.0f;
            float x = importance[s] * share(score, importance[s]);
            if (row < ROWS) weights[row * LS + s] = x;
        }
        __syncthreads();
        ALL (i, 2 * W * SP) {
            int s = i % SP, a = i / SP % W, heard = i / (SP * W);
            float sum = 0.0f, mass = 0.0f;
            if (s >= S)
                ;
            else if (heard)
                for (int r = 0; r < S; r++) sum += weights[(C + s) * LS + r] * values[r * WS + a];
            else {
                for (int c = 0; c < C; c++) {
                    float x = weights[c * LS + s];
                    mass += x;
                    sum += x * sent[c * WS + a];
                }
                sum /= fmaxf(mass, LEAST_MASS);
            }
            int first = s / 4 * 4;
            put_to_all(mail[0], heard < 2, inputs + (heard * D + h * W + a) * SS + first, H, sum);
            put_to_all(mail[0], !heard && a == 0, masses + h * SP + first, H, mass);
        }
        /* while that is under way */
        float of_state[4][4] = {}, of_inputs[4][4] = {};
        if (OfState::works()) OfState::add(state, state_w, of_state);
        mail[0].await(j);
        if (j + 1 < n_chunks) keep();
        if (OfInputs::works()) {
            int row = OfInputs::row(), column = OfInputs::column(), group = OfInputs::group();
            OfInputs::add(inputs, input_w, of_inputs);
            if (column < 2 * W) {
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int m = 0; m < 4; m++) of_inputs[i][m] += of_state[i][m];
            } else
                put_down(parts, WIDE, group, row, column + W, of_state);
            put_down(parts, WIDE, group, row, column, of_inputs);
        }
        __syncthreads();
        ALL (i, W * SP) {
            int s = i % SP, a = i / SP;
            float next = 0.0f;
            if (a < W) {
                float of[4], mass = 0.0f;
#pragma unroll
                for (int part = 0; part < 4; part++)
                    of[part] = gate_b[part * W + a]
                               + add_up(parts, OfState::GROUPS, WIDE, s, part * W + a);
#pragma unroll
                for (int head = 0; head < H; head++) mass += masses[head * SP + s];
                float old = state[(h * W + a) * SS + s], kept = expf(-mass / H);
                next = gru(of[0], of[1], of[2], of[3], old).next;
                next = s < S ? next + kept * (old - next) : 0.0f;
            }
            put_to_all(mail[1], a < W, state + (h * W + a) * SS + s / 4 * 4, H, next);
        }
        mail[1].await(j);
        EACH (i, S * W) { /* each block a part of the rows, so that a warp writes side by side */
            int at = h * S * W + i, s = at / D, d = at % D;
            w.states[(((long long)j + 1) * n_batch + b) * S * D + at] = state[d * SS + s];
        }
    }
    cluster_sync(); /* no block ends while others may write to it */
}

/* ---- what tokens read, chunk by chunk side by side ---- */

/* Keys and values (NEAR, DS): of the states, then of the chunk before and of this one. */
DEVICE void near_tokens(const Arguments &w, int b, int j, float *keys, float *values)
{
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
        score[n] = there ? dot<W>(query, keys + i * DS) : -INFINITY;
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

KERNEL(1, THREADS) nsm_read(const Arguments w)
{
    const int j = blockIdx.x / w.n_batch, b = blockIdx.x % w.n_batch, warp = threadIdx.x / 32;
    float *at = shared_memory();
    float *queries = take(at, C * DS), *keys = take(at, NEAR * DS), *values = take(at, NEAR * DS);
    float *weights = take(at, WARPS * NS);
    const long long chunk = (long long)b * w.n_all + j;
    EACH (i, C * D)
        queries[i / D * DS + i % D] = w.maps[(chunk * C + i / D) * 4 * D + i % D] * SCALE;
    const float *own = w.keys + ((long long)j * w.n_batch + b) * S * 2 * D;
    EACH (i, S * D) {
        int s = i / D, d = i % D;
        keys[s * DS + d] = own[s * 2 * D + d];
        values[s * DS + d] = own[s * 2 * D + D + d];
    }
    near_tokens(w, b, j, keys, values);
    __syncthreads();
    for (int i = warp; i < H * C; i += WARPS) {
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

KERNEL(1, THREADS) nsm_recall(const Arguments w)
{
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
    EACH (i, S * D) {
        int s = i / D, d = i % D;
        state[d * SS + s] = w.states[((long long)j * n_batch + b) * S * D + i];
    }
    EACH (i, (SP - S) * D) state[i % D * SS + S + i / D] = 0.0f;
    EACH (i, 2 * D * SS) inputs[i] = 0.0f;
    EACH (i, C * D) {
        int c = i / D, d = i % D;
        const float *of = w.maps + (chunk * C + c) * 4 * D + d;
        queries[c * DS + d] = of[0] * SCALE;
        asks[c * DS + d] = of[D] * SCALE;
        sent[c * DS + d] = of[3 * D];
        grads[c * DS + d] = w.d_found[(chunk * C + c) * D + d];
    }
    near_tokens(w, b, j, keys, values);
    __syncthreads();
    layer_norm(w, state, normed, w.moments + here * S * 2);
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * 3 * D; i += THREADS) {
        int n = i % (3 * D), first = i / (3 * D) * (SP / 2), d = n % D, part = n / D;
        float sums[SP / 2] = {};
        half_column<D>(normed + first, w.state_maps + n * D, sums);
        float bias = w.state_maps_bias[n];
        float *to = (part == 0 ? asks + C * DS : part == 1 ? keys : values) + d;
        float *out = w.own + ((here * H + d / W) * 3 + part) * S * W + d % W;
        for (int s = 0; s < SP / 2; s++) {
            float x = (sums[s] + bias) * (part == 0 ? SCALE : 1.0f);
            if (first + s < S) to[(first + s) * DS] = out[(first + s) * W] = x;
        }
    }
    EACH (i, S * D) w.normed[here * S * D + i] = normed[i % D * SS + i / D];
    __syncthreads();
    ALL (i, H * ROWS * LANES) {
        int of = i / LANES, s = i % LANES, h = of / ROWS, row = of % ROWS;
        bool there = h < H && s < S;
        float importance = there ? w.importance[s] : 0.0f;
        float score = there ? dot<W>(asks + row * DS + h * W, keys + s * DS + h * W) : 0.0f;
        float x = share(score, importance);
        if (there) w.shares[((here * H + h) * ROWS + row) * S + s] = x;
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
            if (d % W == 0) {
                masses[h * SP + s] = mass;
                w.mass[(here * H + h) * S + s] = mass;
            }
        }
        inputs[(heard * D + d) * SS + s] = sum;
    }
    __syncthreads();
    EACH (i, S * 2 * D) w.inputs[here * S * 2 * D + i] = inputs[i % (2 * D) * SS + i / (2 * D)];
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
        float d_n = moved * (1.0f - g.z) * (1.0f - g.n * g.n), *out = w.by_gate + (here * S + s) * 4 * D + d;
        out[0] = d_n;
        out[D] = d_n * of[3] * g.r * (1.0f - g.r);
        out[2 * D] = moved * (old - g.n) * g.z * (1.0f - g.z);
        out[3 * D] = d_n * g.r;
        w.direct[here * S * D + i] = kept + moved * g.z;
        w.change[here * S * D + i] = (old - g.next) * -kept / H;
    }
    for (int i = warp; i < H * C; i += WARPS) {
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
            d_scores[i * NS + m] = of[n] * (by_weight[n] - along);
            if (m < S) by_share[i * S + m] = shares[n] * (by_weight[n] - along);
        }
    }
    __syncthreads();
    EACH (s, S) {
        float sum = 0.0f;
        for (int i = 0; i < H * C; i++) sum += by_share[i * S + s];
        w.d_read_importance[here * S + s] = sum;
    }
    EACH (i, C * D) {
        int c = i / D, d = i % D;
        const float *of = d_scores + (d / W * C + c) * NS;
        float sum = 0.0f;
        for (int m = 0; m < NEAR; m++) sum += of[m] * keys[m * DS + d];
        w.d_maps[(chunk * C + c) * 4 * D + d] = sum * SCALE;
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
            float *to = w.d_read + (here * H + h) * 2 * S * W + m * W + d % W;
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

KERNEL(H, THREADS) nsm_retreat(const Arguments w)
{
    const int h = cluster_rank(), b = blockIdx.x / H, t = threadIdx.x;
    const int n_batch = w.n_batch, n_chunks = w.n_chunks;
    using Told = Product<3 * W, 3 * D>;
    using Normed = Product<D, 3 * W>;
    constexpr int FAR = D + ROW_LANES; /* from state to state of what blocks send */
    constexpr int PARTS = Told::SIZE > Normed::SIZE ? Told::SIZE : Normed::SIZE;
    float *at = shared_memory();
    float *gate_w = take(at, 3 * D * 3 * W), *map_w = take(at, 3 * W * D);
    float *d_gate = take(at, 4 * D * SS), *d_own = take(at, 3 * W * SS), *parts = take(at, PARTS);
    float *given = take(at, 2 * (H + 1) * SP * FAR); /* twice: by each head, and by the gate */
    float *asks = take(at, ROWS * WS), *keys = take(at, S * WS), *values = take(at, S * WS);
    float *sent = take(at, C * WS), *messages = take(at, S * WS), *d_read = take(at, 2 * S * W);
    float *shares = take(at, ROWS * S), *d_scores = take(at, ROWS * LS), *mass = take(at, SP);
    float *d_sent = take(at, S * WS), *d_heard = take(at, S * WS), *by_kept = take(at, SP);
    float *importance = take(at, LANES);
    Mail *mail = (Mail *)take(at, 4); /* of the two halves of what is given */
    EACH (i, LANES) importance[i] = i < S ? w.importance[i] : 0.0f;
    /* rows are gradients of the arguments i, r, z, h; columns what a head told, heard, and its
       dimensions of the state, whose rows begin at r */
    for (int i = t; i < 3 * D * 3 * W; i += THREADS) {
        int n = i % (3 * W), k = i / (3 * W), d = h * W + n % W, part = n / W;
        int argument = k / D; /* of i, r, z in torch's order: 2, 0, 1 */
        int row = (argument == 0 ? 2 : argument - 1) * D + k % D;
        gate_w[i] = part < 2 ? w.by_input[row * 2 * D + part * D + d] : w.by_state[k * D + d];
    }
    for (int i = t; i < 3 * W * D; i += THREADS) {
        int d = i % D, n = i / D;
        map_w[i] = w.state_maps[(n / W * D + h * W + n % W) * D + d];
    }
    EACH (i, 4 * D * SS) d_gate[i] = 0.0f;
    EACH (i, 3 * W * SS) d_own[i] = 0.0f;
    EACH (i, 2 * (H + 1) * SP * FAR) given[i] = 0.0f;
    constexpr int IMPORTANCES = (ROWS * LANES + THREADS - 1) / THREADS;
    float d_importance[IMPORTANCES] = {};
    float g[EACH_LANE], by_gate[4][EACH_LANE], direct[EACH_LANE], change[EACH_LANE];
    float unit[EACH_LANE], scale = 0.0f, d_norm[EACH_LANE] = {}, d_bias[EACH_LANE] = {};
    const int row = t / ROW_LANES, lane = t % ROW_LANES;
    const bool has_row = row < S;
    /* the next chunk's are on their way while this one's are used */
    constexpr int OWN = 3 * S * W, TOKENS = 2 * C * W, SHARES = ROWS * S, READ = 2 * S * W;
    constexpr int AHEAD = OWN + TOKENS + SHARES + READ + S * W + S;
    constexpr int SAID = (C * W + THREADS - 1) / THREADS;
    constexpr int MANY = (AHEAD + THREADS - 1) / THREADS;
    float ahead[MANY], state[EACH_LANE], next_direct[EACH_LANE], mean = 0.0f, next_scale = 0.0f;
    auto fetch = [&](int k) {
        const long long here = (long long)k * n_batch + b;
        const float *own = w.own + (here * H + h) * OWN;
        const float *tokens = w.maps + ((long long)b * w.n_all + w.first + k) * C * 4 * D + h * W;
#pragma unroll
        for (int n = 0; n < MANY; n++) {
            int i = t + n * THREADS;
            if (i < OWN) {
                ahead[n] = own[i];
                continue;
            }
            i -= OWN;
            if (i < TOKENS) {
                int c = i / W % C;
                ahead[n] = tokens[c * 4 * D + (i / (W * C) ? 3 * D : D) + i % W];
                continue;
            }
            i -= TOKENS;
            if (i < SHARES) {
                ahead[n] = w.shares[(here * H + h) * SHARES + i];
                continue;
            }
            i -= SHARES;
            if (i < READ) {
                ahead[n] = w.d_read[(here * H + h) * READ + i];
                continue;
            }
            i -= READ;
            if (i < S * W) {
                ahead[n] = w.inputs[(here * S + i / W) * 2 * D + h * W + i % W];
                continue;
            }
            i -= S * W;
            if (i < S) ahead[n] = w.mass[(here * H + h) * S + i];
        }
    };
    auto keep = [&]() {
#pragma unroll
        for (int n = 0; n < MANY; n++) {
            int i = t + n * THREADS;
            if (i < OWN) {
                int s = i / W % S, part = i / (S * W);
                (part == 0 ? asks + C * WS : part == 1 ? keys : values)[s * WS + i % W] = ahead[n];
                continue;
            }
            i -= OWN;
            if (i < TOKENS) {
                int c = i / W % C;
                if (i < C * W)
                    asks[c * WS + i % W] = ahead[n] * SCALE;
                else
                    sent[c * WS + i % W] = ahead[n];
                continue;
            }
            i -= TOKENS;
            if (i < SHARES) {
                shares[i] = ahead[n];
                continue;
            }
            i -= SHARES;
            if (i < READ) {
                d_read[i] = ahead[n];
                continue;
            }
            i -= READ;
            if (i < S * W) {
                messages[i / W * WS + i % W] = ahead[n];
                continue;
            }
            i -= S * W;
            if (i < S) mass[i] = ahead[n];
        }
    };
    auto fetch_row = [&](int k) {
        if (!has_row) return;
        const long long at = ((long long)k * n_batch + b) * S + row;
        const long long old = ((long long)(w.first + k) * n_batch + b) * S + row;
        mean = w.moments[at * 2];
        next_scale = w.moments[at * 2 + 1];
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) {
            int d = lane + i * ROW_LANES;
#pragma unroll
            for (int part = 0; part < 4; part++) by_gate[part][i] = w.by_gate[at * 4 * D + part * D + d];
            change[i] = w.change[at * D + d];
            state[i] = w.states[old * D + d];
            next_direct[i] = w.direct[at * D + d];
        }
    };
#pragma unroll
    for (int i = 0; i < EACH_LANE; i++)
        g[i] = has_row ? w.carried[((long long)b * S + row) * D + lane + i * ROW_LANES] : 0.0f;
    fetch(n_chunks - 1);
    keep();
    fetch_row(n_chunks - 1);
    if (t == 0) mail[0].open(), mail[1].open();
    cluster_sync();
    for (int k = n_chunks - 1; k >= 0; k--) {
        const long long here = (long long)k * n_batch + b;
        const int half = k & 1, round = (n_chunks - 1 - k) / 2;
        float *taken = given + half * (H + 1) * SP * FAR;
        float *d_tokens = w.d_maps + ((long long)b * w.n_all + w.first + k) * C * 4 * D + h * W;
        float so_far[SAID];
        if (t == 0) mail[half].expect(H * S * (D + W) * 4);
#pragma unroll
        for (int n = 0; n < SAID; n++) {
            int i = t + n * THREADS;
            if (i < C * W) so_far[n] = d_tokens[i / W * 4 * D + 3 * D + i % W];
        }
        if (k) fetch(k - 1);
        if (t < SP * ROW_LANES) { /* whole warps */
            float sum = 0.0f;
            scale = next_scale;
#pragma unroll
            for (int i = 0; i < EACH_LANE; i++) {
                int d = lane + i * ROW_LANES;
                direct[i] = next_direct[i];
                if (has_row) {
#pragma unroll
                    for (int part = 0; part < 4; part++) {
                        float x = by_gate[part][i] * g[i];
                        d_gate[(part * D + d) * SS + row] = x;
                        if (d / W == h) w.d_gate[(here * S + row) * 4 * D + part * D + d] = x;
                    }
                    sum += g[i] * change[i];
                    unit[i] = (state[i] - mean) * scale;
                }
            }
            sum = total<ROW_LANES>(sum);
            if (lane == 0) by_kept[row] = sum;
            if (k) fetch_row(k - 1);
        }
        __syncthreads();
        if (Told::works()) {
            float sums[4][4] = {};
            int column = Told::column();
            Told::add(d_gate + (column < 2 * W ? 0 : D * SS), gate_w, sums);
            put_down(parts, Told::STRIDE, Told::group(), Told::row(), column, sums);
        }
        __syncthreads();
        ALL (i, S * 3 * W) {
            int s = i / (3 * W), n = i % (3 * W), a = n % W, part = s < S ? n / W : 3;
            float x = part < 3 ? add_up(parts, Told::GROUPS, Told::STRIDE, s, n) : 0.0f;
            if (part == 0) d_sent[s * WS + a] = x / fmaxf(mass[s], LEAST_MASS);
            if (part == 1) d_heard[s * WS + a] = x;
            put_to_all(mail[half], part == 2, taken + (H * SP + s) * FAR + h * W + a / 4 * 4, H, x);
        }
        __syncthreads();
#pragma unroll
        for (int n = 0; n < IMPORTANCES; n++) {
            int i = n * THREADS + t, r = i / LANES, s = i % LANES;
            bool there = r < ROWS && s < S;
            float d = 0.0f, share = 0.0f;
            if (there) {
                share = shares[r * S + s];
                if (r < C) {
                    d = dot<W>(d_sent + s * WS, sent + r * WS) + by_kept[s];
                    if (mass[s] > LEAST_MASS) d -= dot<W>(d_sent + s * WS, messages + s * WS);
                } else
                    d = dot<W>(d_heard + (r - C) * WS, values + s * WS);
            }
            d -= total<LANES>(d * importance[s] * share);
            d_importance[n] += d * share;
            if (r < ROWS) d_scores[r * LS + s] = d * importance[s] * share;
        }
        __syncthreads();
        EACH (i, 3 * W * SP) {
            int s = i % SP, n = i / SP, a = n % W, part = n / W;
            if (s >= S) continue;
            float x = 0.0f;
            if (part == 0) {
                for (int r = 0; r < S; r++) x += d_scores[(C + s) * LS + r] * keys[r * WS + a];
                x *= SCALE;
            } else if (part == 1) {
                for (int r = 0; r < ROWS; r++) x += d_scores[r * LS + s] * asks[r * WS + a];
                x += d_read[s * W + a];
            } else {
                for (int r = 0; r < S; r++) x += shares[(C + r) * S + s] * d_heard[r * WS + a];
                x = x * importance[s] + d_read[S * W + s * W + a];
            }
            d_own[n * SS + s] = x;
            w.d_own[(here * S + s) * 3 * D + part * D + h * W + a] = x;
        }
        __syncthreads();
        if (Normed::works()) {
            float sums[4][4] = {};
            Normed::add(d_own, map_w, sums);
            put_down(parts, Normed::STRIDE, Normed::group(), Normed::row(), Normed::column(), sums);
        }
        __syncthreads();
        ALL (i, S * D) {
            int s = i / D, d = i % D;
            float x = s < S ? add_up(parts, Normed::GROUPS, Normed::STRIDE, s, d) : 0.0f;
            put_to_all(mail[half], s < S, taken + (h * SP + s) * FAR + d / 4 * 4, H, x);
        }
        /* while that is under way: what nothing waits for */
#pragma unroll
        for (int n = 0; n < SAID; n++) {
            int i = t + n * THREADS, c = i / W, a = i % W;
            if (i >= C * W) continue;
            float x = 0.0f, y = so_far[n];
            for (int s = 0; s < S; s++) {
                x += d_scores[c * LS + s] * keys[s * WS + a];
                y += shares[c * S + s] * importance[s] * d_sent[s * WS + a];
            }
            d_tokens[c * 4 * D + D + a] = x * SCALE;
            d_tokens[c * 4 * D + 3 * D + a] = y;
        }
        mail[half].await(round);
        if (t < SP * ROW_LANES) {
            float sum = 0.0f, along = 0.0f, x[EACH_LANE], by_state[EACH_LANE];
#pragma unroll
            for (int i = 0; i < EACH_LANE; i++) {
                int d = lane + i * ROW_LANES;
                x[i] = 0.0f;
                by_state[i] = taken[(H * SP + row) * FAR + d];
                if (has_row) {
#pragma unroll
                    for (int head = 0; head < H; head++) x[i] += taken[(head * SP + row) * FAR + d];
                    d_norm[i] += x[i] * unit[i];
                    d_bias[i] += x[i];
                    x[i] *= w.norm[d];
                    sum += x[i];
                    along += x[i] * unit[i];
                }
            }
            sum = total<ROW_LANES>(sum) / D;
            along = total<ROW_LANES>(along) / D;
#pragma unroll
            for (int i = 0; i < EACH_LANE; i++)
                if (has_row)
                    g[i] = g[i] * direct[i] + by_state[i] + scale * (x[i] - sum - unit[i] * along);
        }
        __syncthreads();
        if (k) keep();
    }
    if (has_row && h == 0)
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) {
            const long long at = (long long)b * S + row;
            int d = lane + i * ROW_LANES;
            w.carried[at * D + d] = g[i];
            w.d_norm[at * 2 * D + d] += d_norm[i];
            w.d_norm[at * 2 * D + D + d] += d_bias[i];
        }
#pragma unroll
    for (int n = 0; n < IMPORTANCES; n++) {
        int i = n * THREADS + t;
        if (i < ROWS * LANES) w.d_importance[((long long)b * H + h) * ROWS * LANES + i] += d_importance[n];
    }
    cluster_sync();
}
