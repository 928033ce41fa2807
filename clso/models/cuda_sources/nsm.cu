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
constexpr int WS = W + 4, DS = D + 4, GS = 4 * D + 8, ROWS = C + S; /* from row to row of W, D, 4 D */
constexpr int ST = D + 8, IS = 2 * D + 8, OS = 3 * W + 8;           /* of states, inputs, a head's maps */
constexpr int NORMED = D + 4, SEEN = 3 * D + 4;
constexpr int LANES = S <= 4 ? 4 : S <= 8 ? 8 : S <= 16 ? 16 : 32; /* one for each state */
constexpr int LS = LANES + 1;
/* Of what asks a state, tokens and then states from TALK on, in tiles of eight. */
constexpr int TALK = rounded(C, 8), ASK_TILES = (TALK + rounded(S, 8)) / 8, AS = 8 * ASK_TILES + 8;
constexpr int ROW_LANES = SP <= 16 ? 16 : 8, EACH_LANE = D / ROW_LANES; /* that share a state's dimensions */
constexpr int NEAR = S + 2 * C, NS = NEAR + 1;           /* what a token may read */
constexpr int READ_EACH = (NEAR + 31) / 32;
/* What the backward pass needs of one head of a chunk: asks and what tokens send, keys and values of
   states, messages, gradients of keys and values by reading, shares, masses. */
constexpr int ASKS = 0, SENT = ASKS + ROWS * WS, KEYS = SENT + C * WS, VALUES = KEYS + S * WS;
constexpr int MESSAGES = VALUES + S * WS, D_READ = MESSAGES + S * WS, SHARES = D_READ + 2 * S * W;
constexpr int MASS = SHARES + S * AS, NOTES = MASS + rounded(S, 4);
/* What it finds there for the tokens: gradients of scores, and of messages over their masses. */
constexpr int D_SCORES = 0, D_SENT = S * AS;
constexpr int RESULTS = D_SENT + S * WS;
constexpr float LEAST_MASS = 1e-6f, TINY = 1e-20f, NORM_EPS = 1e-5f, MAX_EXPONENT = 30.0f;

static_assert(BY_TURNS % W == 0 && BY_TURNS % D == 0 && D % ROW_LANES == 0 && W % 16 == 0, "widths");
static_assert(S <= 32 && D <= 128, "states");

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
    float *normed;                  /* (K, B, S, NORMED): without weights; 1; over what scale */
    float *seen;                    /* (K, B, S, SEEN): message, heard, state, 1 */
    float *by_gate;                 /* (K, B, S, GS): i, r, z, h; then gradients of these arguments */
    float *direct, *change;         /* (K, B, S, D) */
    float *d_read_importance;       /* (J, B, S) */
    float *d_maps;                  /* as maps; zeros at first */
    float *d_own, *results;         /* (K, B, S, 3 D), (K, B, H, RESULTS) */
    float *carried;                 /* (B, S, D): gradient of the states after, then before all */
    float *d_importance;            /* (B, H, BY_TURNS / 8, LANES): added to */
    const float *of_gate, *of_maps; /* (4 D, 3 D + 1): rows i, r, z, h by SEEN; (3 D, D + 1) by NORMED */
    float *to_norm, *to_norm_bias, *to_state_maps, *to_state_maps_bias, *to_by_input, *to_by_state;
    float *to_input_bias, *to_state_bias, *to_initial, *to_importance; /* gradients, as what they are of */
};

/* ---- products: a warp has 16 rows and some columns of one of several shares of the sum over K ---- */

/* The fewest that warps have of so many. */
constexpr int columns(int n)
{
    int found = 8;
    while (n % found || SP / 16 * (n / found) > WARPS) found += 8;
    return found;
}

template <int N, int K, int COLUMNS, int GROUPS> struct Product {
    static constexpr int TILES = SP / 16 * (N / COLUMNS), STEPS = K / 8 / GROUPS, EIGHTS = COLUMNS / 8;
    static constexpr int STRIDE = N + 8, SIZE = GROUPS * SP * STRIDE;
    static_assert(TILES * GROUPS <= WARPS && K % (8 * GROUPS) == 0, "each warp has one share at most");
    float lead[STEPS][EIGHTS][2], rest[STEPS][EIGHTS][2]; /* of the right matrix, in registers */

    MEMBER bool works() { return threadIdx.x / 32 < TILES * GROUPS; }
    MEMBER int group() { return threadIdx.x / 32 / TILES; }
    /* Of a warp's rows and columns those that a lane has first in `multiply`. */
    MEMBER int row() { return threadIdx.x / 32 % TILES / (N / COLUMNS) * 16 + threadIdx.x % 32 / 4; }
    MEMBER int column() { return first_column() + threadIdx.x % 4 * 2; }
    MEMBER int first_column() { return threadIdx.x / 32 % TILES % (N / COLUMNS) * COLUMNS; }

    /* of(k, n) is the right matrix */
    template <class Of> MEMBER_FUNCTION void load(Of of)
    {
        int k = group() * STEPS * 8 + threadIdx.x % 4 * 2, n = first_column() + threadIdx.x % 32 / 4;
#pragma unroll
        for (int i = 0; i < EIGHTS * STEPS; i++) {
            int at = k + i / EIGHTS * 8, e = i % EIGHTS;
            float x[2] = {}, *y = lead[i / EIGHTS][e], *z = rest[i / EIGHTS][e];
            if (works()) x[0] = of(at, n + e * 8), x[1] = of(at + 1, n + e * 8);
            for (int m = 0; m < 2; m++) y[m] = leading(x[m]), z[m] = x[m] - y[m], hold(z[m]);
        }
    }

    /* left(row, k) is the left matrix at k, which is even, and k + 1 */
    template <class Left> MEMBER_FUNCTION void add(Left left, float (&sums)[EIGHTS][4]) const
    {
        int s = row(), k = group() * STEPS * 8 + threadIdx.x % 4 * 2;
        float small[2][EIGHTS][4] = {};
#pragma unroll
        for (int i = 0; i < STEPS; i++, k += 8) {
            float2 a = left(s, k), b = left(s + 8, k);
            float x[4] = {a.x, b.x, a.y, b.y}, x_lead[4], x_rest[4];
            split(x, x_lead, x_rest);
#pragma unroll
            for (int n = 0; n < EIGHTS; n++) {
                multiply(small[0][n], x_lead, rest[i][n]);
                multiply(sums[n], x_lead, lead[i][n]);
                multiply(small[1][n], x_rest, lead[i][n]);
            }
        }
#pragma unroll
        for (int n = 0; n < EIGHTS; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[n][i] += small[0][n][i] + small[1][n][i];
    }

    /* Shares (GROUPS, SP, STRIDE) of what a warp has, at its own rows and columns. */
    MEMBER void put_down(float *out, const float (&sums)[EIGHTS][4])
    {
        out += (group() * SP + row()) * STRIDE + column();
#pragma unroll
        for (int n = 0; n < EIGHTS; n++) {
            pair(out + 8 * n) = make_float2(sums[n][0], sums[n][1]);
            pair(out + 8 * n + 8 * STRIDE) = make_float2(sums[n][2], sums[n][3]);
        }
    }

    MEMBER float4 add_up_four(const float *shares, int row, int column)
    {
        float4 sum = {};
#pragma unroll
        for (int i = 0; i < GROUPS; i++) sum = sum + four(shares + (i * SP + row) * STRIDE + column);
        return sum;
    }

    MEMBER float add_up(const float *shares, int row, int column)
    {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < GROUPS; i++) sum += shares[(i * SP + row) * STRIDE + column];
        return sum;
    }
};

/* Numbers at `at` and the next of a row, or of a column, zero from END on. */
template <int END> DEVICE float2 beside(const float *row, int at)
{
    float2 x = pair(row + at);
    return make_float2(at < END ? x.x : 0.0f, at + 1 < END ? x.y : 0.0f);
}
template <int END> DEVICE float2 below(const float *column, int stride, int at)
{
    column += at * stride;
    return make_float2(at < END ? column[0] : 0.0f, at + 1 < END ? column[stride] : 0.0f);
}

/* What a layer norm's weights and bias become in maps of the head h. Row n of the maps is of the norm's
   weights, less their mean: they take away the mean of what they are multiplied by. */
DEVICE void fold_norm(const Arguments &w, int h, float *means, float *bias)
{
    constexpr int THREADS = BY_TURNS;
    ROWS_OF (n, lane, 3 * W, 16) {
        float mean = 0.0f, sum = 0.0f;
        int row = n / W * D + h * W + n % W;
        for (int k = lane; k < D && n < 3 * W; k += 16) {
            mean += w.norm[k] * w.state_maps[row * D + k];
            sum += w.norm_bias[k] * w.state_maps[row * D + k];
        }
        mean = total<16>(mean) / D;
        sum = total<16>(sum);
        if (lane == 0 && n < 3 * W) means[n] = mean, bias[n] = sum + w.state_maps_bias[row];
    }
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

    /* `out`, if wanted, is as `Arguments::normed`. */
    MEMBER_FUNCTION void operator()(const float *state, float *normed, float *out) const
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
        if (!out || row >= S) return;
        out += row * NORMED;
#pragma unroll
        for (int i = 0; i < EACH_LANE; i++) out[lane + i * ROW_LANES] = x[i] * scale;
        if (lane == 0) out[D] = 1.0f, out[D + 1] = scale;
    }
};

/* Of scores, N a lane and LANES lanes, that many apart: exp(score) over the sum of what importance weighs. */
template <int N, int LANES, int APART>
DEVICE void shares_of(float (&scores)[N], const float (&importance)[N])
{
    float peak = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < N; i++) peak = importance[i] > 0.0f ? fmaxf(peak, scores[i]) : peak;
    peak = most<LANES, APART>(peak);
#pragma unroll
    for (int i = 0; i < N; i++) {
        scores[i] = expf(fminf(scores[i] - peak, MAX_EXPONENT));
        sum += importance[i] * scores[i];
    }
    float over = __fdividef(1.0f, fmaxf(total<LANES, APART>(sum), TINY));
#pragma unroll
    for (int i = 0; i < N; i++) scores[i] *= over;
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
    const int lane = t % 32, warp = t / 32, g = lane / 4, last_warp = WARPS - 1 - warp;
    const int n_batch = w.n_batch, n_chunks = w.n_all;
    constexpr int HALF = 3 * W / 2, TILES = 2 * SP / 16;
    Product<3 * W, D, columns(3 * W), 1> by_maps;
    Product<3 * W, D, HALF, groups(WARPS / 2, TILES, D / 8)> by_state;
    Product<3 * W, 2 * D, HALF, groups(WARPS, TILES, 2 * D / 8)> by_inputs;
    constexpr int TELLING = SP / 16 * (W / 8); /* tiles of what a head sends */
    float *at = shared_memory();
    float *state = take(at, SP * ST), *inputs = take(at, SP * IS), *masses = take(at, SP * H * 4);
    float *of_state = take(at, by_state.SIZE), *of_inputs = take(at, by_inputs.SIZE);
    float *tokens = take(at, 2 * 2 * C * WS); /* twice: queries, and what is sent */
    float *own = take(at, SP * OS), *weights = take(at, SP * AS); /* query, key, value; (S, asks) */
    Mail *mail = (Mail *)take(at, 4); /* inputs, states */
    const float *talk = own, *keys = own + W, *values = own + 2 * W;
    unsigned far[H], fourth[(H + 3) / 4]; /* to all blocks; to each fourth */
#pragma unroll
    for (int rank = 0; rank < H; rank++) far[rank] = distance(rank);
#pragma unroll
    for (int i = 0; i < (H + 3) / 4; i++) fourth[i] = distance((t % 4 + 4 * i) % H);
    auto row_of = [&](int n) { return n / W * D + h * W + n % W; };
    fold_norm(w, h, weights, weights + 3 * W);
    __syncthreads();
    by_maps.load([&](int k, int n) { return w.norm[k] * w.state_maps[row_of(n) * D + k] - weights[n]; });
    by_state.load([&](int k, int n) { return w.by_state[row_of(n) * D + k]; });
    by_inputs.load([&](int k, int n) { return w.by_input[row_of(n) * 2 * D + k]; });
    float map_bias[by_maps.EIGHTS][2], gate_bias[4], importance[SP / 16][2];
#pragma unroll
    for (int i = 0; i < 2 * by_maps.EIGHTS; i++)
        map_bias[i / 2][i % 2] = weights[3 * W + by_maps.column() + i / 2 * 8 + i % 2];
#pragma unroll
    for (int i = 0; i < 4; i++) { /* i and h are one argument in torch */
        int d = h * W + t % W;
        gate_bias[i] = (i < 3 ? w.input_bias[i * D + d] : 0.0f)
                       + (i < 2 ? w.state_bias[i * D + d] : i == 3 ? w.state_bias[2 * D + d] : 0.0f);
    }
#pragma unroll
    for (int i = 0; i < SP / 8; i++) {
        int s = i * 8 + g;
        importance[i / 2][i % 2] = s < S ? w.importance[s] : 0.0f;
    }
    EACH (i, SP * D) {
        int s = i / D;
        state[s * ST + i % D] = s < S ? w.states[b * S * D + i] : 0.0f;
    }
    const float *next = w.maps + (long long)b * n_chunks * C * 4 * D + h * W;
    auto fetch = [&](int j) {
        float *to = tokens + j % 2 * 2 * C * WS;
        EACH (i, 2 * C * W / 4) {
            int c = i / (W / 4), a = i % (W / 4) * 4;
            copy(to + c * WS + a, next + c % C * 4 * D + (c < C ? D : 3 * D) + a);
        }
        next += C * 4 * D;
    };
    /* by each block a part of the rows; by the last threads, which have nothing else to do */
    float *written = w.states + (long long)b * S * D;
    auto write_states = [&]() {
        written += (long long)n_batch * S * D;
        for (int i = THREADS - 1 - t; i < S * W / 4; i += THREADS) {
            int n = h * S * W + 4 * i;
            four(written + n) = four(state + n / D * ST + n % D);
        }
    };
    if (t == 0) mail[0].open(), mail[1].open();
    cluster_sync(); /* no block writes to another before that has begun */
    fetch(0);
    copies_are_done();
    for (int j = 0; j < n_chunks; j++) {
        if (t == 0) mail[0].expect(H * SP * (2 * W + 4) * 4), mail[1].expect(D * SP * 4);
        const float *queries = tokens + j % 2 * 2 * C * WS, *sent = queries + C * WS;
        if (by_maps.works()) {
            /* of layer norms: moments of the two rows of a lane, from their first numbers on */
            float sums[by_maps.EIGHTS][4] = {}, first[2], mean[2] = {}, square[2] = {};
#pragma unroll
            for (int i = 0; i < 2; i++) first[i] = state[(by_maps.row() + 8 * i) * ST];
            by_maps.add(
                [&](int s, int k) {
                    const int i = s / 8 % 2;
                    float2 x = pair(state + s * ST + k);
                    x.x -= first[i], x.y -= first[i];
                    mean[i] += x.x, square[i] += x.x * x.x;
                    mean[i] += x.y, square[i] += x.y * x.y;
                    return x;
                },
                sums);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                mean[i] = total<4>(mean[i]) / D;
                float scale = rsqrtf(total<4>(square[i]) / D - mean[i] * mean[i] + NORM_EPS);
                float *out = own + (by_maps.row() + 8 * i) * OS + by_maps.column();
#pragma unroll
                for (int n = 0; n < by_maps.EIGHTS; n++)
                    pair(out + 8 * n) = make_float2(scale * sums[n][2 * i] + map_bias[n][0],
                                                    scale * sums[n][2 * i + 1] + map_bias[n][1]);
            }
        }
        if (j) write_states();
        __syncthreads();
        if (by_state.works()) {
            float sums[by_state.EIGHTS][4] = {};
            by_state.add([&](int s, int k) { return pair(state + s * ST + k); }, sums);
            by_state.put_down(of_state, sums);
        }
        /* (16 states, 8 asks); by warps that have no product */
        for (int i = last_warp; i < ASK_TILES; i += WARPS) {
            int row = 8 * i + g;
            const float *ask = row < TALK ? queries + row * WS : talk + (row - TALK) * OS;
            float x[SP / 16][4] = {};
#pragma unroll
            for (int m = 0; m < SP / 16; m++)
                tile<W>(
                    x[m], [&](int s, int k) { return pair(keys + (16 * m + s) * OS + k); },
                    [&](int k, int) { return pair(ask + k); });
#pragma unroll
            for (int n = 0; n < 2; n++) {
                float score[SP / 8], of[SP / 8];
#pragma unroll
                for (int m = 0; m < SP / 8; m++)
                    score[m] = SCALE * x[m / 2][m % 2 * 2 + n], of[m] = importance[m / 2][m % 2];
                shares_of<SP / 8, 8, 4>(score, of);
#pragma unroll
                for (int m = 0; m < SP / 8; m++) x[m / 2][m % 2 * 2 + n] = of[m] * score[m];
            }
#pragma unroll
            for (int m = 0; m < SP / 8; m++)
                pair(weights + (8 * m + g) * AS + 8 * i + lane % 4 * 2) =
                    make_float2(x[m / 2][m % 2 * 2], x[m / 2][m % 2 * 2 + 1]);
        }
        __syncthreads();
        /* (16 states, 8 dimensions): what is sent, then what is heard */
        for (int i = last_warp; i < 2 * TELLING; i += WARPS) {
            int first = i % (SP / 16) * 16, a = i % TELLING / (SP / 16) * 8, heard = i / TELLING;
            float sums[4] = {}, mass[2] = {};
            if (heard)
                tile<rounded(S, 8)>(
                    sums,
                    [&](int s, int r) { return below<SP>(weights + TALK + first + s, AS, r); },
                    [&](int r, int n) { return below<SP>(values + a + n, OS, r); });
            else
                tile<TALK>(
                    sums,
                    [&](int s, int c) {
                        float2 x = beside<C>(weights + (first + s) * AS, c);
                        mass[s / 8] += x.x + x.y;
                        return x;
                    },
                    [&](int c, int n) { return below<C>(sent + a + n, WS, c); });
            if (!heard)
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    mass[n] = total<4>(mass[n]);
                    float over = __fdividef(1.0f, fmaxf(mass[n], LEAST_MASS));
                    sums[2 * n] *= over, sums[2 * n + 1] *= over;
                }
            const float4 four = four_of(sums);
            const int s = first + g + lane % 2 * 8;
            float *to = inputs + s * IS + heard * D + h * W + a + lane % 4 / 2 * 4;
#pragma unroll
            for (int rank = 0; rank < H; rank++) mail[0].put(to, far[rank], four);
            if (!heard && a == 0 && lane % 4 < 2)
#pragma unroll
                for (int rank = 0; rank < H; rank++)
                    mail[0].put(masses + (s * H + h) * 4, far[rank],
                                make_float4(lane % 2 ? mass[1] : mass[0], 0.0f, 0.0f, 0.0f));
        }
        if (j + 1 < n_chunks) fetch(j + 1);
        mail[0].await(j);
        if (by_inputs.works()) {
            float sums[by_inputs.EIGHTS][4] = {};
            by_inputs.add([&](int s, int k) { return pair(inputs + s * IS + k); }, sums);
            by_inputs.put_down(of_inputs, sums);
        }
        __syncthreads();
        ROWS_OF (s, a, SP, W) {
            float x[3], y[3], mass = 0.0f, old = state[s * ST + h * W + a];
#pragma unroll
            for (int i = 0; i < 3; i++) {
                x[i] = gate_bias[i] + by_inputs.add_up(of_inputs, s, i * W + a);
                y[i] = by_state.add_up(of_state, s, i * W + a);
            }
#pragma unroll
            for (int head = 0; head < H; head++) mass += masses[(s * H + head) * 4];
            float kept = expf(-mass / H);
            float next = gru(x[0] + y[0], x[1] + y[1], x[2], gate_bias[3] + y[2], old).next;
            next = s < S ? next + kept * (old - next) : 0.0f;
            put_to_all<H>(mail[1], true, state + s * ST + h * W + a / 4 * 4, fourth, next);
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
DEVICE void map_states(const Arguments &w, const float *state, float *normed, float *out,
                       float *queries, float *keys, float *values)
{
    constexpr int THREADS = AT_ONCE;
    LayerNorm layer_norm(w);
    layer_norm(state, normed, out);
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
    map_states(w, state, normed, w.normed + here * S * NORMED, asks + C * DS, keys, values);
    __syncthreads();
    EACH (i, S * D) {
        int s = i / D, d = i % D;
        float *note = notes + d / W * NOTES + s * WS + d % W;
        note[ASKS + C * WS] = asks[(C + s) * DS + d];
        note[KEYS] = keys[s * DS + d];
        note[VALUES] = values[s * DS + d];
        w.seen[(here * S + s) * SEEN + 2 * D + d] = state[d * SS + s];
    }
    EACH (s, S) w.seen[(here * S + s) * SEEN + 3 * D] = 1.0f;
    ROWS_OF (of, s, H * ROWS, LANES) {
        int h = of / ROWS, row = of % ROWS;
        bool there = h < H && s < S;
        float importance[1] = {there ? w.importance[s] : 0.0f};
        float x[1] = {there ? SCALE * dot<W>(asks + row * DS + h * W, keys + s * DS + h * W) : 0.0f};
        shares_of<1, LANES, 1>(x, importance);
        if (there) notes[h * NOTES + SHARES + s * AS + (row < C ? row : TALK + row - C)] = x[0];
        if (h < H) weights[of * LS + s] = importance[0] * x[0];
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
    const int lane = t % 32, warp = t / 32, g = lane / 4, last_warp = WARPS - 1 - warp;
    const int n_batch = w.n_batch, n_chunks = w.n_chunks;
    constexpr int OF_STATES = SP / 16 * (W / 8); /* tiles of a head's part of the states */
    Product<2 * W, 3 * D, 2 * W, groups(WARPS, SP / 16, 3 * D / 8)> by_input; /* to what a head told, heard */
    Product<W, 3 * D, columns(W), groups(WARPS / 2, OF_STATES, 3 * D / 8)> by_state;
    Product<D, 3 * W, columns(D), 1> by_maps;
    constexpr int FAR = D + 8; /* from state to state of what blocks send */
    constexpr int ROW_NOTES = S * (GS + 2 * D + NORMED);
    constexpr int GIVEN = (H + 1) * SP * FAR, NOTED = NOTES + ROW_NOTES;
    float *at = shared_memory();
    float *grad = take(at, SP * ST), *of_input = take(at, by_input.SIZE), *of_state = take(at, by_state.SIZE);
    float *results = take(at, RESULTS), *d_own = take(at, SP * OS), *d_heard = take(at, S * WS);
    float *d_scores = results + D_SCORES, *d_sent = results + D_SENT;
    float *given = take(at, 2 * GIVEN); /* twice: by each head, and by the gate */
    float *all_notes = take(at, 2 * NOTED);
    float *by_kept = take(at, SP);
    Mail *mail = (Mail *)take(at, 8); /* given, twice; notes, twice */
    unsigned far[H];
#pragma unroll
    for (int rank = 0; rank < H; rank++) far[rank] = distance(rank);
    auto row_of = [&](int n) { return n / W * D + h * W + n % W; };
    /* rows are i, r, z, h; in torch i is the third of the inputs', h of the state's */
    by_input.load([&](int k, int n) {
        return w.by_input[((k < D ? 2 * D : -D) + k) * 2 * D + row_of(n)];
    });
    by_state.load([&](int k, int n) { return w.by_state[k * D + h * W + n]; });
    fold_norm(w, h, d_own, d_own + 3 * W);
    __syncthreads();
    by_maps.load([&](int k, int n) { return w.norm[n] * w.state_maps[row_of(k) * D + n] - d_own[k]; });
    float importance[SP / 16][2], d_importance[SP / 16][2] = {};
#pragma unroll
    for (int i = 0; i < SP / 8; i++) {
        int s = i * 8 + g;
        importance[i / 2][i % 2] = s < S ? w.importance[s] : 0.0f;
    }
    EACH (i, RESULTS) results[i] = 0.0f;
    EACH (i, 2 * GIVEN) given[i] = 0.0f;
    EACH (i, SP * D) {
        int s = i / D;
        grad[s * ST + i % D] = s < S ? w.carried[b * S * D + i] : 0.0f;
    }
    /* the next chunk's are on their way while this one's are used */
    auto fetch = [&](int k) {
        const long long here = (long long)k * n_batch + b;
        float *to = all_notes + k % 2 * NOTED;
        Mail &notes = mail[2 + k % 2];
        notes.expect(NOTED * 4);
        notes.fetch(to, w.notes + (here * H + h) * NOTES, NOTES);
        notes.fetch(to += NOTES, w.by_gate + here * S * GS, S * GS);
        notes.fetch(to += S * GS, w.direct + here * S * D, S * D);
        notes.fetch(to += S * D, w.change + here * S * D, S * D);
        notes.fetch(to += S * D, w.normed + here * S * NORMED, S * NORMED);
    };
    if (t < 4) mail[t].open();
    cluster_sync();
    if (t == 0) fetch(n_chunks - 1);
    for (int k = n_chunks - 1; k >= 0; k--) {
        const long long here = (long long)k * n_batch + b;
        const int half = k % 2, round = (n_chunks - 1 - k) / 2;
        float *taken = given + half * GIVEN;
        const float *notes = all_notes + half * NOTED, *gates = notes + NOTES;
        const float *direct = gates + S * GS, *change = direct + S * D, *normed = change + S * D;
        const float *asks = notes + ASKS, *keys = notes + KEYS, *values = notes + VALUES;
        const float *sent = notes + SENT, *messages = notes + MESSAGES, *d_read = notes + D_READ;
        const float *shares = notes + SHARES, *mass = notes + MASS;
        if (t == 0) mail[half].expect(H * S * (D + W) * 4);
        mail[2 + half].await(round);
        auto d_gate = [&](int s, int n) {
            float2 x = pair(gates + s * GS + n), y = pair(grad + s * ST + n % D);
            return s < S ? make_float2(x.x * y.x, x.y * y.y) : make_float2(0.0f, 0.0f);
        };
        if (by_input.works()) {
            float sums[by_input.EIGHTS][4] = {};
            by_input.add(d_gate, sums);
            by_input.put_down(of_input, sums);
        }
        EACH (i, SP * D / 4) {
            int s = i / (D / 4), d = i % (D / 4) * 4;
            float sum = s < S ? sum_of(four(grad + s * ST + d) * four(change + s * D + d)) : 0.0f;
            sum = total<D / 4>(sum);
            if (d == 0) by_kept[s] = sum;
        }
        if (k && t == THREADS - 32) fetch(k - 1);
        __syncthreads();
        ROWS_OF (s, a, S, W)
            if (s < S) {
                float sum = by_input.add_up(of_input, s, a);
                d_sent[s * WS + a] = __fdividef(sum, fmaxf(mass[s], LEAST_MASS));
                d_heard[s * WS + a] = by_input.add_up(of_input, s, W + a);
            }
        __syncthreads();
        if (by_state.works()) {
            float sums[by_state.EIGHTS][4] = {};
            by_state.add([&](int s, int n) { return d_gate(s, D + n); }, sums);
            by_state.put_down(of_state, sums);
        }
        /* (16 states, 8 asks); by warps that have no product */
        for (int i = last_warp; i < ASK_TILES; i += WARPS) {
            const bool heard = i >= TALK / 8;
            const int first = heard ? 8 * i - TALK : 8 * i, end = heard ? S : C;
            const float *of = heard ? values : d_sent, *by = (heard ? d_heard : sent) + first * WS;
            float d[SP / 16][4] = {}, along[2] = {};
#pragma unroll
            for (int m = 0; m < SP / 16; m++) {
                float by_message[2] = {};
                tile<W>(
                    d[m],
                    [&](int s, int a) {
                        const int row = 16 * m + s;
                        if (row >= S) return make_float2(0.0f, 0.0f);
                        float2 x = pair(of + row * WS + a);
                        if (!heard) {
                            float2 y = pair(messages + row * WS + a);
                            by_message[s / 8] -= x.x * y.x + x.y * y.y;
                        }
                        return x;
                    },
                    [&](int a, int n) { return pair(by + n * WS + a); });
                if (!heard)
#pragma unroll
                    for (int n = 0; n < 2; n++) {
                        const int row = 16 * m + 8 * n + g;
                        float x = total<4>(by_message[n]);
                        x = by_kept[row] + (row < S && mass[row] > LEAST_MASS ? x : 0.0f);
                        d[m][2 * n] += x, d[m][2 * n + 1] += x;
                    }
            }
            const int ask = lane % 4 * 2;
            float2 share[SP / 8];
#pragma unroll
            for (int m = 0; m < SP / 8; m++) {
                const int s = 8 * m + g;
                float2 x = s < S ? pair(shares + s * AS + 8 * i + ask) : make_float2(0.0f, 0.0f);
                share[m] = make_float2(first + ask < end ? x.x : 0.0f, first + ask + 1 < end ? x.y : 0.0f);
                along[0] += d[m / 2][m % 2 * 2] * importance[m / 2][m % 2] * share[m].x;
                along[1] += d[m / 2][m % 2 * 2 + 1] * importance[m / 2][m % 2] * share[m].y;
            }
#pragma unroll
            for (int n = 0; n < 2; n++) along[n] = total<8, 4>(along[n]);
#pragma unroll
            for (int m = 0; m < SP / 8; m++) {
                const int s = 8 * m + g;
                float x = (d[m / 2][m % 2 * 2] - along[0]) * share[m].x;
                float y = (d[m / 2][m % 2 * 2 + 1] - along[1]) * share[m].y;
                float weight = SCALE * importance[m / 2][m % 2];
                d_importance[m / 2][m % 2] += x + y;
                if (s < S) pair(d_scores + s * AS + 8 * i + ask) = make_float2(weight * x, weight * y);
            }
        }
        __syncthreads();
        EACH (i, S * W / 4) {
            int s = i / (W / 4), a = i % (W / 4) * 4;
            float4 x = by_state.add_up_four(of_state, s, a);
#pragma unroll
            for (int rank = 0; rank < H; rank++)
                mail[half].put(taken + (H * SP + s) * FAR + h * W + a, far[rank], x);
        }
        /* (16 states, 8 dimensions) of a state's query, key and value */
        for (int i = last_warp; i < 3 * OF_STATES; i += WARPS) {
            const int first = i % (SP / 16) * 16, a = i % OF_STATES / (SP / 16) * 8, part = i / OF_STATES;
            float sums[4] = {};
            if (part == 0)
                tile<rounded(S, 8)>(
                    sums, [&](int s, int r) { return below<S>(d_scores + TALK + first + s, AS, r); },
                    [&](int r, int n) { return below<S>(keys + a + n, WS, r); });
            else if (part == 1)
                tile<8 * ASK_TILES>(
                    sums,
                    [&](int s, int r) {
                        return first + s < S ? pair(d_scores + (first + s) * AS + r) : make_float2(0.0f, 0.0f);
                    },
                    [&](int r, int n) {
                        return r < TALK ? below<C>(asks + a + n, WS, r)
                                        : below<S>(asks + C * WS + a + n, WS, r - TALK);
                    });
            else
                tile<rounded(S, 8)>(
                    sums,
                    [&](int s, int r) {
                        return first + s < S ? beside<S>(shares + (first + s) * AS + TALK, r)
                                             : make_float2(0.0f, 0.0f);
                    },
                    [&](int r, int n) { return below<S>(d_heard + a + n, WS, r); });
#pragma unroll
            for (int n = 0; n < 2; n++) {
                const int s = first + 8 * n + g, d = a + lane % 4 * 2;
                if (s >= S) continue;
                float weight = part == 2 ? importance[first / 16][n] : 1.0f;
                float2 x = make_float2(weight * sums[2 * n], weight * sums[2 * n + 1]);
                if (part) {
                    float2 y = pair(d_read + ((part - 1) * S + s) * W + d);
                    x.x += y.x, x.y += y.y;
                }
                pair(d_own + s * OS + part * W + d) = x;
            }
        }
        __syncthreads();
        if (by_maps.works()) {
            float sums[by_maps.EIGHTS][4] = {};
            by_maps.add([&](int s, int n) { return pair(d_own + s * OS + n); }, sums);
            const int s = by_maps.row() + lane % 2 * 8, d = by_maps.first_column() + lane % 4 / 2 * 4;
#pragma unroll
            for (int n = 0; n < by_maps.EIGHTS; n++) {
                float4 four = four_of(sums[n]);
#pragma unroll
                for (int rank = 0; rank < H; rank++)
                    if (s < S) mail[half].put(taken + (h * SP + s) * FAR + d + 8 * n, far[rank], four);
            }
        }
        /* while that is under way */
        EACH (i, RESULTS / 4)
            four(w.results + (here * H + h) * RESULTS + 4 * i) = four(results + 4 * i);
        EACH (i, S * 3 * W / 4) {
            int s = i / (3 * W / 4), n = i % (3 * W / 4) * 4;
            four(w.d_own + (here * S + s) * 3 * D + row_of(n)) = four(d_own + s * OS + n);
        }
        mail[half].await(round);
        EACH (i, SP * D / 4) {
            const int s = i / (D / 4), d = i % (D / 4) * 4;
            float4 x = {}, unit = {};
            if (s < S) {
#pragma unroll
                for (int head = 0; head < H; head++) x = x + four(taken + (head * SP + s) * FAR + d);
                unit = four(normed + s * NORMED + d);
            }
            const float along = total<D / 4>(sum_of(x * unit)) / D, scale = normed[s * NORMED + D + 1];
            if (s >= S) continue;
            float4 &by = four(grad + s * ST + d);
            if (d / W == h) /* all blocks have read it */
#pragma unroll
                for (int part = 0; part < 4; part++)
                    four(w.by_gate + (here * S + s) * GS + part * D + d) = four(gates + s * GS + part * D + d) * by;
            by = by * four(direct + s * D + d) + four(taken + (H * SP + s) * FAR + d)
                 + scale * (x + -along * unit);
        }
        __syncthreads();
    }
    if (h == 0)
        EACH (i, S * D) w.carried[b * S * D + i] = grad[i / D * ST + i % D];
#pragma unroll
    for (int m = 0; m < SP / 8; m++) {
        const int s = 8 * m + g;
        const long long row = ((long long)b * H + h) * (THREADS / 8) + warp * 4 + lane % 4;
        if (s < S) w.d_importance[row * LANES + s] += d_importance[m / 2][m % 2];
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
            x += results[D_SCORES + s * AS + c] * notes[KEYS + s * WS + a];
            y += notes[SHARES + s * AS + c] * w.importance[s] * results[D_SENT + s * WS + a];
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
            w.to_state_maps[row * D + i] = maps[i] * w.norm[i] + maps[D] * w.norm_bias[i];
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
#pragma unroll 16
        for (int n = 0; n < 3 * D; n++)
            sum += w.state_maps[n * D + i % D] * w.of_maps[n * (D + 1) + (i < D ? i : D)];
        (i < D ? w.to_norm : w.to_norm_bias)[i % D] = sum;
    }
    /* a share of the rows a thread */
    float *shares = shared_memory(), sum = 0.0f;
    const int s = threadIdx.x % LANES;
    for (int n = threadIdx.x / LANES; n < n_batch * H * (BY_TURNS / 8); n += THREADS / LANES)
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
