/* A state mixer, forward and backward: `clso.models.nsm_mixer` and `nsm_recurrence` have the words,
   the letters of shapes, and the same in plain torch.

   Chunks are gone through one by one by a cluster of H blocks for each sequence. A block has the
   weights of one head, and of that head's W dimensions of the gate, in registers, and a copy of all
   states; what its head makes of a chunk it writes into the shared memory of all. All that does not
   depend on the chunk before (forward) or after (backward) is done by one block a chunk.

   Backward goes through a sequence segment by segment, from the last: nsm_recall, then nsm_retreat. What
   is left to do for a segment is done beside the nsm_recall of the one before it.

   D, H, C, S and SCALE are given by the compiler's command line. */

#include "common.cuh"

constexpr int W = D / H, BY_TURNS = 256, AT_ONCE = 512; /* threads of a block */
constexpr int WARPS = BY_TURNS / 32;
constexpr int SP = rounded(S, 16), SS = SP + 8; /* states in a column, and from column to column */
constexpr int WS = W + 4, DS = D + 4, GS = 4 * D + 8, ROWS = C + S; /* from row to row of W, D, 4 D */
/* From pair to pair of rows as in `place`; no two lanes want the same bank. */
constexpr int PAIRS = SP / 2;
constexpr int paired(int n) { return 2 * n + 16; }
constexpr int PW = paired(W), PD = paired(D);
constexpr int NORM_LANES = D < 64 ? D / 2 : 32; /* for a pair of rows of states */
constexpr int NORMED = D + 4;
constexpr int LANES = S <= 4 ? 4 : S <= 8 ? 8 : S <= 16 ? 16 : 32; /* one for each state */
constexpr int LS = LANES + 1;
/* Of what asks a state, tokens and then states from TALK on, in tiles of eight. */
constexpr int TALK = rounded(C, 8), ASK_TILES = (TALK + rounded(S, 8)) / 8, AS = paired(8 * ASK_TILES);
constexpr int ROW_LANES = SP <= 16 ? 16 : 8, EACH_LANE = D / ROW_LANES; /* of a state's dimensions */
constexpr int NEAR = S + 2 * C, NS = NEAR + 1;           /* what a token may read */
constexpr int READ_EACH = (NEAR + 31) / 32;
/* What the backward pass needs of one head of a chunk: asks and what tokens send, keys of states; in
   pairs of rows values, messages, gradients of keys and values by reading, shares (S, asks); masses. */
constexpr int ASKS = 0, SENT = ASKS + ROWS * WS, KEYS = SENT + C * WS, VALUES = KEYS + S * WS;
constexpr int MESSAGES = VALUES + PAIRS * PW, D_READ = MESSAGES + PAIRS * PW;
constexpr int SHARES = D_READ + 2 * PAIRS * PW, MASS = SHARES + PAIRS * AS, NOTES = MASS + SP;
/* What it finds there for the tokens: gradients of scores, and of messages over their masses. */
constexpr int D_SCORES = 0, D_SENT = PAIRS * AS, RESULTS = D_SENT + PAIRS * PW;
constexpr float LEAST_MASS = 1e-6f, TINY = 1e-20f, NORM_EPS = 1e-5f, MAX_EXPONENT = 30.0f;

static_assert(BY_TURNS % W == 0 && BY_TURNS % D == 0 && D % ROW_LANES == 0 && W % 16 == 0, "widths");
static_assert(S <= 32 && D <= 128, "states");

struct Arguments {
    /* B; J chunks, in segments of K. Of three neighbours, from chunk `first` on, nsm_recall prepares the
       first, which nsm_retreat goes through, settles the second and adds the third's products of tokens;
       each may be empty. */
    long long n_batch, n_all, n_each, first, n_chunks, n_after, n_settled;
    const float *tokens; /* (B, J, C, D) */
    float *maps; /* (B, J, C, 4 D): tokens' read query, route query, key and value; where chunks are
                    settled, the gradient */
    const float *norm, *norm_bias, *state_maps, *state_maps_bias; /* (3 D, D): query, key, value */
    const float *by_input, *by_state, *input_bias, *state_bias;   /* a GRU's in torch's order */
    const float *initial, *importance;
    float *states; /* (J + 1, B, S, D) */
    float *found;  /* (B, J, C, D): what tokens read */
    const float *d_found;
    float *notes;                           /* (K, B, H, NOTES) */
    float *normed, *seen;                   /* (K, B, S, NORMED): without weights; over what scale */
                                            /* (K, B, S, 2 D): message, heard */
    const float *normed_after, *seen_after; /* of the second segment */
    float *by_gate;                         /* (K, B, S, GS): by i, r, z, h */
    float *direct, *change;                 /* (K, B, S, D), in pairs of rows */
    float *d_read_importance;               /* (J, B, S) */
    float *d_own_tokens; /* (K, B, C, 3 D): by reading, of read queries, keys and values */
    float *d_before;     /* (K + 1, B, C, 2 D), for chunks modulo K + 1: of keys and values before it */
    float *d_gate, *d_own, *results; /* (K, B, S, 4 D), (K, B, S, 3 D), (K, B, H, RESULTS) */
    float *carried;                  /* (B, S, D): gradient of the states after, then before a segment */
    float *d_importance;             /* (B, H, BY_TURNS / 8, LANES) */
    /* gradients, as what they are of */
    float *to_token_maps, *to_token_maps_bias, *to_norm, *to_norm_bias, *to_state_maps;
    float *to_state_maps_bias, *to_by_input, *to_by_state, *to_input_bias, *to_state_bias;
    float *to_initial, *to_importance;
};

/* Of a state, zero if that is not there. */
DEVICE float importance_of(const Arguments &w, int s) { return s < S ? fmaxf(w.importance[s], 0.0f) : 0.0f; }

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
    static constexpr int STRIDE = paired(N), SIZE = GROUPS * PAIRS * STRIDE;
    static_assert(TILES * GROUPS <= WARPS && K % (8 * GROUPS) == 0, "each warp has one share at most");
    float lead[STEPS][EIGHTS][2], rest[STEPS][EIGHTS][2]; /* of the right matrix, in registers */

    MEMBER bool works() { return threadIdx.x / 32 < TILES * GROUPS; }
    MEMBER int group() { return threadIdx.x / 32 / TILES; }
    /* Of a warp's pairs of rows and columns those that a lane has first in `multiply`. */
    MEMBER int rows() { return threadIdx.x / 32 % TILES / (N / COLUMNS) * 8 + threadIdx.x % 32 / 4; }
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

    /* left(rows, k, i) is four numbers of the left matrix at k + 8 i, as in `tile` */
    template <class Left> MEMBER_FUNCTION void add(Left left, float (&sums)[EIGHTS][4]) const
    {
        const int k = group() * STEPS * 8 + threadIdx.x % 4 * 2;
        float small[2][EIGHTS][4] = {};
#pragma unroll
        for (int i = 0; i < STEPS; i++) {
            const float4 a = left(rows(), k, i);
            float x[4] = {a.x, a.y, a.z, a.w}, x_lead[4], x_rest[4];
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

    /* Shares (GROUPS, PAIRS, STRIDE) of what a warp has, at its own rows and columns. */
    MEMBER void put_down(float *out, const float (&sums)[EIGHTS][4])
    {
        out += (group() * PAIRS + rows()) * STRIDE + 2 * column();
#pragma unroll
        for (int n = 0; n < EIGHTS; n++) four(out + 16 * n) = neighbours(sums[n]);
    }

    MEMBER float add_up(const float *shares)
    {
        float sum = shares[0];
#pragma unroll
        for (int i = 1; i < GROUPS; i++) sum += shares[i * PAIRS * STRIDE];
        return sum;
    }

    MEMBER float4 add_up_four(const float *shares)
    {
        float4 sum = four(shares);
#pragma unroll
        for (int i = 1; i < GROUPS; i++) sum = sum + four(shares + i * PAIRS * STRIDE);
        return sum;
    }
};

/* The state that number `i` of a row of `place` is of. */
DEVICE int state_of(int rows, int i) { return rows / 8 * 16 + rows % 8 + i % 2 * 8; }

/* Two numbers of the states s and s + 8 each, zero if not there, in a matrix in which each has a row. */
DEVICE float4 from_rows(const float *at, int stride, int s)
{
    float2 x = s < S ? pair(at) : make_float2(0.0f, 0.0f);
    float2 y = s + 8 < S ? pair(at + 8 * stride) : make_float2(0.0f, 0.0f);
    return make_float4(x.x, y.x, x.y, y.y);
}
DEVICE void to_rows(float *at, int stride, int s, float4 x)
{
    if (s < S) pair(at) = make_float2(x.x, x.z);
    if (s + 8 < S) pair(at + 8 * stride) = make_float2(x.y, x.w);
}

/* Numbers at `at` and the next of a column, zero from END on. */
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
        if (lane == 0) out[D] = scale;
    }
};

/* Of scores, N a lane, of LANES lanes, that many apart: exp(score) over the sum of what importance
   weighs. */
template <int N, int LANES, int APART>
DEVICE void shares_of(float (&scores)[N], const float (&importance)[N])
{
    float peak = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < N; i++) peak = importance[i] > 0.0f ? fmaxf(peak, scores[i]) : peak;
    peak = most<LANES, APART>(peak);
#pragma unroll
    for (int i = 0; i < N; i++) {
        scores[i] = exponential(fminf(scores[i] - peak, MAX_EXPONENT));
        sum += importance[i] * scores[i];
    }
    float over = reciprocal(fmaxf(total<LANES, APART>(sum), TINY));
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
    assume(threadIdx.x < THREADS);
    const int h = cluster_rank(), b = blockIdx.x / H, t = threadIdx.x;
    const int lane = t % 32, warp = t / 32, g = lane / 4, last_warp = WARPS - 1 - warp;
    const int n_batch = w.n_batch, n_chunks = w.n_all;
    constexpr int HALF = 3 * W / 2, TILES = 2 * SP / 16;
    Product<3 * W, D, columns(3 * W), 1> by_maps;
    Product<3 * W, D, HALF, groups(WARPS / 2, TILES, D / 8)> by_state;
    Product<3 * W, 2 * D, HALF, groups(WARPS, TILES, 2 * D / 8)> by_inputs;
    constexpr int TELLING = SP / 16 * (W / 8); /* tiles of what a head sends */
    constexpr int PI = paired(2 * D), PO = paired(2 * W); /* of inputs; of a head's keys and values */
    float *at = shared_memory();
    float *state = take(at, PAIRS * PD), *inputs = take(at, PAIRS * PI), *masses = take(at, H * SP);
    float *of_state = take(at, by_state.SIZE), *of_inputs = take(at, by_inputs.SIZE);
    float *tokens = take(at, 2 * 2 * C * WS); /* twice: queries, and what is sent */
    float *talk = take(at, SP * WS), *own = take(at, PAIRS * PO), *weights = take(at, PAIRS * AS);
    Mail *mail = (Mail *)take(at, 4); /* inputs, states */
    const float *keys = own, *values = own + 2 * W;
    unsigned far[H], fourth[(H + 3) / 4]; /* to all blocks; to each fourth */
#pragma unroll
    for (int rank = 0; rank < H; rank++) far[rank] = distance(rank);
#pragma unroll
    for (int i = 0; i < (H + 3) / 4; i++) fourth[i] = distance((t % 4 + 4 * i) % H);
    auto row_of = [&](int n) { return n / W * D + h * W + n % W; };
    fold_norm(w, h, inputs, inputs + 3 * W);
    __syncthreads();
    by_maps.load([&](int k, int n) { return w.norm[k] * w.state_maps[row_of(n) * D + k] - inputs[n]; });
    by_state.load([&](int k, int n) { return w.by_state[row_of(n) * D + k]; });
    by_inputs.load([&](int k, int n) { return w.by_input[row_of(n) * 2 * D + k]; });
    float map_bias[by_maps.EIGHTS][2], gate_bias[4], importance[SP / 16][2];
#pragma unroll
    for (int i = 0; i < 2 * by_maps.EIGHTS; i++)
        map_bias[i / 2][i % 2] = inputs[3 * W + by_maps.column() + i / 2 * 8 + i % 2];
#pragma unroll
    for (int i = 0; i < 4; i++) { /* i and h are one argument in torch */
        int d = h * W + t / 2 % W;
        gate_bias[i] = (i < 3 ? w.input_bias[i * D + d] : 0.0f)
                       + (i < 2 ? w.state_bias[i * D + d] : i == 3 ? w.state_bias[2 * D + d] : 0.0f);
    }
#pragma unroll
    for (int i = 0; i < SP / 8; i++) importance[i / 2][i % 2] = importance_of(w, i * 8 + g);
    EACH (i, SP * D) {
        int s = i / D;
        state[place(s, i % D, PD)] = s < S ? w.initial[i] : 0.0f;
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
    /* by each block its part; by the last threads, which have nothing else to do */
    float *written = w.states + (long long)b * S * D + h * W;
    auto write_states = [&]() {
        for (int i = THREADS - 1 - t; i < SP * W / 4; i += THREADS) {
            int rows = i / (W / 2), a = i % (W / 2) * 2, s = state_of(rows, 0);
            to_rows(written + s * D + a, D, s, four(state + rows * PD + 2 * (h * W + a)));
        }
        written += (long long)n_batch * S * D;
    };
    if (t == 0) mail[0].open(), mail[1].open();
    cluster_sync(); /* no block writes to another before that has begun */
    fetch(0);
    copies_are_done();
    for (int j = 0; j < n_chunks; j++) {
        if (t == 0) mail[0].expect(H * SP * (2 * W + 1) * 4), mail[1].expect(D * SP * 4);
        const float *queries = tokens + j % 2 * 2 * C * WS, *sent = queries + C * WS;
        if (by_maps.works()) {
            /* of layer norms: moments of the two rows of a lane, from their first numbers on */
            float sums[by_maps.EIGHTS][4] = {};
            const float2 first = pair(state + by_maps.rows() * PD);
            float4 of_rows = {}, of_squares = {};
            by_maps.add(
                [&](int rows, int k, int i) {
                    float4 x = four(state + rows * PD + 2 * k + 16 * i) + by_row(-first.x, -first.y);
                    of_rows = of_rows + x, of_squares = of_squares + x * x;
                    return x;
                },
                sums);
            float2 mean = over_columns(of_rows), scale = over_columns(of_squares);
            mean.x = total<4>(mean.x) / D, mean.y = total<4>(mean.y) / D;
            scale.x = reciprocal_root(total<4>(scale.x) / D - mean.x * mean.x + NORM_EPS);
            scale.y = reciprocal_root(total<4>(scale.y) / D - mean.y * mean.y + NORM_EPS);
#pragma unroll
            for (int n = 0; n < by_maps.EIGHTS; n++) {
                const float *bias = map_bias[n];
                const int column = by_maps.column() + 8 * n, s = state_of(by_maps.rows(), 0);
                float4 x = by_row(scale.x, scale.y) * neighbours(sums[n])
                           + make_float4(bias[0], bias[0], bias[1], bias[1]);
                if (column >= W)
                    four(own + by_maps.rows() * PO + 2 * (column - W)) = x;
                else {
                    pair(talk + s * WS + column) = make_float2(x.x, x.z);
                    pair(talk + (s + 8) * WS + column) = make_float2(x.y, x.w);
                }
            }
        }
        write_states();
        __syncthreads();
        if (by_state.works()) {
            float sums[by_state.EIGHTS][4] = {};
            by_state.add(
                [&](int rows, int k, int i) { return four(state + rows * PD + 2 * k + 16 * i); }, sums);
            by_state.put_down(of_state, sums);
        }
        /* (16 states, 8 asks); by warps that have no product */
        for (int i = last_warp; i < ASK_TILES; i += WARPS) {
            int row = 8 * i + g;
            const float *ask = row < TALK ? queries + row * WS : talk + (row - TALK) * WS;
            float x[SP / 16][4] = {};
#pragma unroll
            for (int m = 0; m < SP / 16; m++)
                tile<W>(
                    x[m], [&](int rows, int k) { return four(keys + (8 * m + rows) * PO + 2 * k); },
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
            for (int m = 0; m < SP / 16; m++)
                four(weights + (8 * m + g) * AS + 2 * (8 * i + lane % 4 * 2)) = neighbours(x[m]);
        }
        __syncthreads();
        /* (16 states, 8 dimensions): what is sent, then what is heard */
        for (int i = last_warp; i < 2 * TELLING; i += WARPS) {
            const int m = i % (SP / 16), a = i % TELLING / (SP / 16) * 8, heard = i / TELLING;
            float sums[4] = {};
            float4 of_asks = {}, over = by_row(1.0f, 1.0f);
            float2 mass = {};
            if (heard)
                tile<rounded(S, 8)>(
                    sums,
                    [&](int s, int r) {
                        const float *x = weights + 2 * (TALK + 16 * m + s);
                        const int first = place(r, 0, AS), next = place(r + 1, 0, AS);
                        return make_float4(x[first], x[first + 16], x[next], x[next + 16]);
                    },
                    [&](int r, int n) {
                        const float *x = values + 2 * (a + n);
                        return make_float2(x[place(r, 0, PO)], x[place(r + 1, 0, PO)]);
                    });
            else {
                tile<TALK>(
                    sums,
                    [&](int rows, int c) {
                        float4 x = four(weights + (8 * m + rows) * AS + 2 * c);
                        if (c >= C) x.x = x.y = 0.0f;
                        if (c + 1 >= C) x.z = x.w = 0.0f;
                        of_asks = of_asks + x;
                        return x;
                    },
                    [&](int c, int n) { return below<C>(sent + a + n, WS, c); });
                mass = over_columns(of_asks);
                mass.x = total<4>(mass.x), mass.y = total<4>(mass.y);
                over = by_row(reciprocal(fmaxf(mass.x, LEAST_MASS)), reciprocal(fmaxf(mass.y, LEAST_MASS)));
            }
            const float4 told = over * neighbours(sums);
            const int rows = 8 * m + g;
            float *to = inputs + rows * PI + 2 * (heard * D + h * W + a + lane % 4 * 2);
#pragma unroll
            for (int rank = 0; rank < H; rank++) mail[0].put(to, far[rank], told);
            if (!heard && a == 0) { /* of two pairs of rows at once */
                float x = exchange(mass.x, 4, 32), y = exchange(mass.y, 4, 32);
#pragma unroll
                for (int n = 0; n < (H + 3) / 4; n++)
                    if (g % 2 == 0 && lane % 4 + 4 * n < H)
                        mail[0].put(masses + h * SP + 2 * rows, fourth[n], make_float4(mass.x, mass.y, x, y));
            }
        }
        if (j + 1 < n_chunks) fetch(j + 1);
        mail[0].await(j);
        if (by_inputs.works()) {
            float sums[by_inputs.EIGHTS][4] = {};
            by_inputs.add(
                [&](int rows, int k, int i) { return four(inputs + rows * PI + 2 * k + 16 * i); }, sums);
            by_inputs.put_down(of_inputs, sums);
        }
        __syncthreads();
        ROWS_OF (rows, i, PAIRS, 2 * W) {
            float x[3], y[3], mass = 0.0f, *to = state + rows * PD + 2 * h * W, old = to[i];
#pragma unroll
            for (int n = 0; n < 3; n++) {
                const int at = rows * by_inputs.STRIDE + 2 * n * W + i;
                x[n] = gate_bias[n] + by_inputs.add_up(of_inputs + at);
                y[n] = by_state.add_up(of_state + at);
            }
#pragma unroll
            for (int head = 0; head < H; head++) mass += masses[head * SP + 2 * rows + i % 2];
            float kept = exponential(-mass / H);
            float next = gru(x[0] + y[0], x[1] + y[1], x[2], gate_bias[3] + y[2], old).next;
            next = state_of(rows, i) < S ? next + kept * (old - next) : 0.0f;
            put_to_all<H>(mail[1], true, to + i / 4 * 4, fourth, next);
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
        of[n] = !there ? 0.0f : i < S ? importance_of(w, i) : 1.0f;
        score[n] = there ? SCALE * dot<W>(query, keys + i * DS) : -INFINITY;
        if (of[n] > 0.0f) peak = fmaxf(peak, score[n]);
    }
    peak = most<32>(peak);
#pragma unroll
    for (int n = 0; n < READ_EACH; n++) {
        shares[n] = exponential(fminf(score[n] - peak, MAX_EXPONENT));
        sum += of[n] * shares[n];
    }
    const float over = reciprocal(fmaxf(total<32>(sum), TINY));
#pragma unroll
    for (int n = 0; n < READ_EACH; n++) shares[n] *= over, weights[n] = of[n] * shares[n];
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

DEVICE void recall(const Arguments &w, int b, int at_k)
{
    constexpr int THREADS = AT_ONCE;
    const int n_batch = w.n_batch, j = w.first + at_k, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const long long here = (long long)at_k * n_batch + b, chunk = (long long)b * w.n_all + j;
    float *at = shared_memory();
    float *state = take(at, D * SS), *normed = take(at, D * SS), *inputs = take(at, 2 * D * SS);
    float *asks = take(at, ROWS * DS), *sent = take(at, C * DS), *weights = take(at, H * ROWS * LS);
    float *masses = take(at, H * SP), *gate = take(at, 4 * D * SS);
    float *queries = take(at, C * DS), *grads = take(at, C * DS);
    float *keys = take(at, NEAR * DS), *values = take(at, NEAR * DS);
    float *read = take(at, H * C * NS), *d_scores = take(at, H * C * NS), *by_share = take(at, H * C * S);
    float *notes = w.notes + here * H * NOTES;
    float *direct = w.direct + here * SP * D, *change = w.change + here * SP * D;
    float *d_own = w.d_own_tokens + here * C * 3 * D;
    float *d_before = w.d_before + (j % (w.n_each + 1) * n_batch + b) * C * 2 * D;
    load_states(w.states + ((long long)j * n_batch + b) * S * D, state);
    EACH (i, 2 * D * SS) inputs[i] = 0.0f;
    if (S < SP || C < TALK) {
        EACH (i, H * NOTES) notes[i] = 0.0f; /* also of states and tokens that are not there */
        EACH (i, SP * D) direct[i] = change[i] = 0.0f;
        __syncthreads();
    }
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
        float *note = notes + d / W * NOTES;
        note[VALUES + place(s, d % W, PW)] = values[s * DS + d];
        note += s * WS + d % W;
        note[ASKS + C * WS] = asks[(C + s) * DS + d];
        note[KEYS] = keys[s * DS + d];
    }
    ROWS_OF (of, s, H * ROWS, LANES) {
        int h = of / ROWS, row = of % ROWS;
        bool there = h < H && s < S;
        float importance[1] = {there ? importance_of(w, s) : 0.0f};
        float x[1] = {there ? SCALE * dot<W>(asks + row * DS + h * W, keys + s * DS + h * W) : 0.0f};
        shares_of<1, LANES, 1>(x, importance);
        if (there) notes[h * NOTES + SHARES + place(s, row < C ? row : TALK + row - C, AS)] = x[0];
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
            notes[h * NOTES + MESSAGES + place(s, d % W, PW)] = sum;
            if (d % W == 0) masses[h * SP + s] = notes[h * NOTES + MASS + s] = mass;
        }
        inputs[(heard * D + d) * SS + s] = sum;
    }
    __syncthreads();
    EACH (i, S * 2 * D) w.seen[here * S * 2 * D + i] = inputs[i % (2 * D) * SS + i / (2 * D)];
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
        float kept = exponential(-mass / H), moved = 1.0f - kept;
        Gated g = gru(of[0], of[1], of[2], of[3], old);
        float d_n = moved * (1.0f - g.z) * (1.0f - g.n * g.n), *out = w.by_gate + (here * S + s) * GS + d;
        out[0] = d_n;
        out[D] = d_n * of[3] * g.r * (1.0f - g.r);
        out[2 * D] = moved * (old - g.n) * g.z * (1.0f - g.z);
        out[3 * D] = d_n * g.r;
        direct[place(s, d, 2 * D)] = kept + moved * g.z;
        change[place(s, d, 2 * D)] = (old - g.next) * -kept / H;
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
        d_own[c * 3 * D + d] = sum;
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
            float *to = notes + h * NOTES + D_READ + place(m, d % W, PW);
            to[0] = d_key;
            to[PAIRS * PW] = d_value;
        } else if (m < S + C) {
            float *to = d_before + (m - S) * 2 * D + d;
            to[0] = d_key;
            to[D] = d_value;
        } else {
            float *to = d_own + (m - S - C) * 3 * D + d;
            to[D] = d_key;
            to[2 * D] = d_value;
        }
    }
}

/* Gradients of tokens' maps, in a chunk that nsm_retreat has gone through. */
DEVICE void settle(const Arguments &w, int b, int k)
{
    constexpr int THREADS = AT_ONCE;
    const long long here = (long long)k * w.n_batch + b, j = w.first + w.n_chunks + k;
    const long long first = (b * w.n_all + j) * C;
    const float *by_next = w.d_before + ((j + 1) % (w.n_each + 1) * w.n_batch + b) * C * 2 * D;
    EACH (i, C * D) {
        int c = i / D, d = i % D, h = d / W, a = d % W;
        const float *notes = w.notes + (here * H + h) * NOTES;
        const float *results = w.results + (here * H + h) * RESULTS;
        const float *own = w.d_own_tokens + (here * C + c) * 3 * D + d;
        float x = 0.0f, key = own[D], value = own[2 * D], *to = w.maps + (first + c) * 4 * D + d;
        for (int s = 0; s < S; s++) {
            const int of = place(s, c, AS);
            x += results[D_SCORES + of] * notes[KEYS + s * WS + a];
            value += notes[SHARES + of] * importance_of(w, s) * results[D_SENT + place(s, a, PW)];
        }
        if (j + 1 < w.n_all) key += by_next[c * 2 * D + d], value += by_next[c * 2 * D + D + d];
        to[0] = own[0], to[D] = x, to[2 * D] = key, to[3 * D] = value;
    }
}

/* A block's tile, from (m, n) on, of `out` (M, N) += left' @ right and of `bias`, the sums over rows of
   `left`; the first time they begin. `left` and `right` say where a row is; the columns of `left` are the
   rows of `out`, rolled back by `roll`. A warp has each sixteenth eight of rows, a lane four neighbouring
   columns of each factor, which to tensor cores are of four tiles. */
constexpr int TILE = 32, TILE_ROW = TILE + 4;
constexpr int tiles(int n) { return rounded(n, TILE) / TILE; }

template <int M, int N, class Left, class Right>
DEVICE void add_product(int rows, bool begins, int m, int n, int roll, Left left, Right right, float *out,
                        float *bias)
{
    constexpr int THREADS = AT_ONCE, SIZE = TILE * TILE_ROW;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    /* what is not there is not written, either */
    const int of_left = min(m + 4 * g, M - 4), of_right = min(n + 4 * g, N - 4);
    float sums[2][4][4] = {}, *shares = shared_memory(), *share = shares + warp * SIZE + 4 * g * TILE_ROW;
    float by_column[4] = {};
    for (int first = 8 * warp; first < rows; first += THREADS / 4) {
        float x[2][4] = {}, y[2][4] = {}, x_lead[2][4], x_rest[2][4], y_lead[2][4], y_rest[2][4];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = first + t + 4 * i;
            if (row < rows) load(x[i], left(row) + of_left), load(y[i], right(row) + of_right);
#pragma unroll
            for (int k = 0; k < 4; k++) by_column[k] += x[i][k];
            split(x[i], x_lead[i], x_rest[i]);
            split(y[i], y_lead[i], y_rest[i]);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int m = i / 4 * 2, n = i % 4;
            auto add = [&](const float (&x)[2][4], const float (&y)[2][4]) {
                const float a[4] = {x[0][m], x[0][m + 1], x[1][m], x[1][m + 1]}, b[2] = {y[0][n], y[1][n]};
                multiply(sums[m / 2][n], a, b);
            };
            add(x_lead, y_rest), add(x_rest, y_lead), add(x_lead, y_lead);
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float(&x)[4][4] = sums[i / 4];
        four(share + i / 2 * TILE_ROW + 4 * (2 * t + i % 2)) =
            make_float4(x[0][i % 4], x[1][i % 4], x[2][i % 4], x[3][i % 4]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float x = total<4>(by_column[i]);
        if (t == 0) share[i * TILE_ROW + TILE] = x;
    }
    __syncthreads();
    EACH (i, TILE * (TILE + 1)) {
        const int row = i / (TILE + 1), column = i % (TILE + 1), to = (m + row + roll) % M;
        const bool of_bias = column == TILE;
        if (m + row >= M || (of_bias ? n > 0 : n + column >= N)) continue;
        float &at = of_bias ? bias[to] : out[to * N + n + column], sum = begins ? 0.0f : at;
#pragma unroll
        for (int k = 0; k < THREADS / 32; k++) sum += shares[k * SIZE + row * TILE_ROW + column];
        at = sum;
    }
}

/* Of matrices that map states, from the segment to settle. */
DEVICE void add_products_of_states(const Arguments &w, int tile)
{
    constexpr int DOWN = tiles(3 * D), OF_INPUT = tiles(2 * D), OF_STATE = OF_INPUT + tiles(D);
    const int m = tile % DOWN * TILE, n = tile / DOWN;
    const long long first = w.first + w.n_chunks;
    const float *states = w.states + first * w.n_batch * S * D;
    const int rows = w.n_after * w.n_batch * S;
    const bool begins = first + w.n_after == w.n_all;
    auto rows_of = [](const float *at, int stride) {
        return [=](long long row) { return at + row * stride; };
    };
    if (n < OF_INPUT) /* i, r, z; in torch i is the last */
        add_product<3 * D, 2 * D>(rows, begins, m, n * TILE, 2 * D, rows_of(w.d_gate, 4 * D),
                                  rows_of(w.seen_after, 2 * D), w.to_by_input, w.to_input_bias);
    else if (n < OF_STATE)
        add_product<3 * D, D>(rows, begins, m, (n - OF_INPUT) * TILE, 0, rows_of(w.d_gate + D, 4 * D),
                              rows_of(states, D), w.to_by_state, w.to_state_bias);
    else /* less the norm's weights: nsm_finish */
        add_product<3 * D, D>(rows, begins, m, (n - OF_STATE) * TILE, 0, rows_of(w.d_own, 3 * D),
                              rows_of(w.normed_after, NORMED), w.to_state_maps, w.to_state_maps_bias);
}

/* Of the tokens' maps, from the settled segment. */
DEVICE void add_product_of_tokens(const Arguments &w, int tile)
{
    constexpr int DOWN = tiles(4 * D);
    const long long first = w.first + w.n_chunks + w.n_after;
    const int n_batch = w.n_batch;
    auto token = [&](int row) {
        const int chunk = row / C;
        return (chunk % n_batch * w.n_all + first + chunk / n_batch) * C + row % C;
    };
    add_product<4 * D, D>(
        w.n_settled * n_batch * C, first + w.n_settled == w.n_all, tile % DOWN * TILE, tile / DOWN * TILE, 0,
        [&](int row) { return w.maps + token(row) * 4 * D; },
        [&](int row) { return w.tokens + token(row) * D; }, w.to_token_maps, w.to_token_maps_bias);
}

/* Blocks for tiles of products, which take longest if sequences are many, then for chunks. */
KERNEL(AT_ONCE) nsm_recall(const Arguments w)
{
    constexpr int OF_STATES = tiles(3 * D) * (tiles(2 * D) + 2 * tiles(D));
    constexpr int TILES = OF_STATES + tiles(4 * D) * tiles(D);
    const int n_batch = w.n_batch, tile = blockIdx.x, chunk = tile - TILES;
    if (tile < OF_STATES) return add_products_of_states(w, tile);
    if (tile < TILES) return add_product_of_tokens(w, tile - OF_STATES);
    const int k = chunk / n_batch, b = chunk % n_batch;
    if (k < w.n_after) settle(w, b, k);
    __syncthreads(); /* what that read is where recall writes, for a chunk K before */
    if (k < w.n_chunks) recall(w, b, k);
}

/* ---- backward, chunk by chunk from the last ---- */

CLUSTER_KERNEL(H, BY_TURNS) nsm_retreat(const Arguments w)
{
    constexpr int THREADS = BY_TURNS;
    assume(threadIdx.x < THREADS);
    const int h = cluster_rank(), b = blockIdx.x / H, t = threadIdx.x;
    const int lane = t % 32, warp = t / 32, g = lane / 4, last_warp = WARPS - 1 - warp;
    const int n_batch = w.n_batch, n_chunks = w.n_chunks;
    const bool begins = w.first + n_chunks == w.n_all;
    constexpr int OF_STATES = SP / 16 * (W / 8); /* tiles of a head's part of the states */
    /* to what a head told and heard, and to its part of the state by the gate and by its maps */
    Product<2 * W, 3 * D, 2 * W, groups(WARPS, SP / 16, 3 * D / 8)> by_input;
    Product<W, 3 * D, columns(W), groups(WARPS / 2, OF_STATES, 3 * D / 8)> by_state;
    Product<D, 3 * W, columns(D), 1> by_maps;
    constexpr int PO = paired(3 * W), ONE = PAIRS * PD, GIVEN = (H + 1) * ONE;
    constexpr int ROW_NOTES = S * (GS + NORMED) + 2 * SP * D, NOTED = NOTES + ROW_NOTES;
    float *at = shared_memory();
    float *of_input = take(at, by_input.SIZE), *of_state = take(at, by_state.SIZE);
    float *grad = take(at, PAIRS * PD), *results = take(at, RESULTS);
    float *d_own = take(at, PAIRS * PO), *d_heard = take(at, SP * WS);
    float *d_scores = results + D_SCORES, *d_sent = results + D_SENT;
    float *given = take(at, 2 * GIVEN); /* twice: by each head, and by the gate */
    float *all_notes = take(at, 2 * NOTED), *by_kept = take(at, SP);
    Mail *mail = (Mail *)take(at, 8); /* given, twice; notes, twice */
    unsigned far[H];
#pragma unroll
    for (int rank = 0; rank < H; rank++) far[rank] = distance(rank);
    auto row_of = [&](int n) { return n / W * D + h * W + n % W; };
    /* of eight dimensions arguments i, r, z, or r, z, h; in torch i is the third of the inputs', h of
       the state's */
    auto of_three = [](int k, int first) { return (k / 8 + first) % 3 * D + k / 24 * 8 + k % 8; };
    by_input.load([&](int k, int n) { return w.by_input[of_three(k, 2) * 2 * D + row_of(n)]; });
    by_state.load([&](int k, int n) { return w.by_state[of_three(k, 0) * D + h * W + n]; });
    static_assert(by_input.STEPS % 3 == 0 && by_state.STEPS % 3 == 0, "a warp has whole eights");
    fold_norm(w, h, d_own, d_own + 3 * W);
    __syncthreads();
    by_maps.load([&](int k, int n) { return w.norm[n] * w.state_maps[row_of(k) * D + n] - d_own[k]; });
    float importance[SP / 16][2], d_importance[SP / 16][2] = {};
#pragma unroll
    for (int i = 0; i < SP / 8; i++) importance[i / 2][i % 2] = importance_of(w, i * 8 + g);
    EACH (i, RESULTS) results[i] = 0.0f;
    EACH (i, SP * D) {
        int s = i / D;
        grad[place(s, i % D, PD)] = s < S && !begins ? w.carried[b * S * D + i] : 0.0f;
    }
    /* the next chunk's are on their way while this one's are used */
    auto fetch = [&](int k) {
        const long long here = (long long)k * n_batch + b;
        float *to = all_notes + k % 2 * NOTED;
        Mail &notes = mail[2 + k % 2];
        notes.expect(NOTED * 4);
        notes.fetch(to, w.notes + (here * H + h) * NOTES, NOTES);
        notes.fetch(to += NOTES, w.by_gate + here * S * GS, S * GS);
        notes.fetch(to += S * GS, w.direct + here * SP * D, SP * D);
        notes.fetch(to += SP * D, w.change + here * SP * D, SP * D);
        notes.fetch(to += SP * D, w.normed + here * S * NORMED, S * NORMED);
    };
    if (t < 4) mail[t].open();
    cluster_sync();
    if (t == 0) fetch(n_chunks - 1);
    for (int k = n_chunks - 1; k >= 0; k--) {
        const long long here = (long long)k * n_batch + b;
        const int half = k % 2, round = (n_chunks - 1 - k) / 2;
        float *taken = given + half * GIVEN;
        const float *notes = all_notes + half * NOTED, *gates = notes + NOTES;
        const float *direct = gates + S * GS, *change = direct + SP * D, *normed = change + SP * D;
        const float *asks = notes + ASKS, *keys = notes + KEYS, *values = notes + VALUES;
        const float *sent = notes + SENT, *messages = notes + MESSAGES, *d_read = notes + D_READ;
        const float *shares = notes + SHARES, *mass = notes + MASS;
        if (t == 0) mail[half].expect(H * SP * (D + W) * 4);
        mail[2 + half].await(round);
        auto d_gate = [&](int rows, int part, int d) {
            const int s = state_of(rows, 0);
            float4 x = from_rows(gates + s * GS + part * D + d, GS, s);
            return x * four(grad + rows * PD + 2 * d);
        };
        if (by_input.works()) {
            float sums[by_input.EIGHTS][4] = {};
            const int d = by_input.group() * by_input.STEPS / 3 * 8 + lane % 4 * 2;
            by_input.add([&](int rows, int, int i) { return d_gate(rows, i % 3, d + i / 3 * 8); }, sums);
            by_input.put_down(of_input, sums);
        }
        for (int rows = t / NORM_LANES; rows < PAIRS; rows += THREADS / NORM_LANES) {
            float4 sum = {};
#pragma unroll
            for (int d = 2 * (t % NORM_LANES); d < D; d += 2 * NORM_LANES)
                sum = sum + four(grad + rows * PD + 2 * d) * four(change + 2 * (rows * D + d));
            float2 both = over_columns(sum);
            float x = total<NORM_LANES>(both.x), y = total<NORM_LANES>(both.y);
            if (t % NORM_LANES == 0) by_kept[state_of(rows, 0)] = x, by_kept[state_of(rows, 1)] = y;
        }
        if (k && t == THREADS - 32) fetch(k - 1);
        __syncthreads();
        ROWS_OF (rows, i, PAIRS, 2 * W) {
            const float *shares = of_input + rows * by_input.STRIDE + i;
            const int s = state_of(rows, i);
            d_sent[rows * PW + i] = by_input.add_up(shares) * reciprocal(fmaxf(mass[s], LEAST_MASS));
            d_heard[s * WS + i / 2] = by_input.add_up(shares + 2 * W);
        }
        __syncthreads();
        if (by_state.works()) {
            float sums[by_state.EIGHTS][4] = {};
            const int d = by_state.group() * by_state.STEPS / 3 * 8 + lane % 4 * 2;
            by_state.add(
                [&](int rows, int, int i) { return d_gate(rows, 1 + i % 3, d + i / 3 * 8); }, sums);
            by_state.put_down(of_state, sums);
        }
        /* (16 states, 8 asks); by warps that have no product */
        for (int i = last_warp; i < ASK_TILES; i += WARPS) {
            const bool heard = i >= TALK / 8;
            const float *of = heard ? values : d_sent, *by = heard ? d_heard - TALK * WS : sent;
            float d[SP / 16][4] = {}, along[2] = {};
            float4 share[SP / 16];
#pragma unroll
            for (int m = 0; m < SP / 16; m++) {
                float4 by_message = {};
                tile<W>(
                    d[m],
                    [&](int rows, int a) {
                        float4 x = four(of + (8 * m + rows) * PW + 2 * a);
                        if (!heard)
                            by_message = by_message + x * four(messages + (8 * m + rows) * PW + 2 * a);
                        return x;
                    },
                    [&](int a, int n) { return pair(by + (8 * i + n) * WS + a); });
                if (!heard) {
                    const int s = 16 * m + g;
                    const float2 both = over_columns(by_message);
                    float x = total<4>(both.x), y = total<4>(both.y);
                    x = by_kept[s] - (mass[s] > LEAST_MASS ? x : 0.0f);
                    y = by_kept[s + 8] - (mass[s + 8] > LEAST_MASS ? y : 0.0f);
                    d[m][0] += x, d[m][1] += x, d[m][2] += y, d[m][3] += y;
                }
                const float4 x = share[m] = four(shares + (8 * m + g) * AS + 16 * i + lane % 4 * 4);
                along[0] += d[m][0] * importance[m][0] * x.x + d[m][2] * importance[m][1] * x.y;
                along[1] += d[m][1] * importance[m][0] * x.z + d[m][3] * importance[m][1] * x.w;
            }
#pragma unroll
            for (int n = 0; n < 2; n++) along[n] = total<8, 4>(along[n]);
#pragma unroll
            for (int m = 0; m < SP / 16; m++) {
                float4 x = neighbours(d[m]) + make_float4(-along[0], -along[0], -along[1], -along[1]);
                x = x * share[m];
                const float2 both = over_columns(x);
                d_importance[m][0] += both.x, d_importance[m][1] += both.y;
                four(d_scores + (8 * m + g) * AS + 16 * i + lane % 4 * 4) =
                    by_row(SCALE * importance[m][0], SCALE * importance[m][1]) * x;
            }
        }
        __syncthreads();
        EACH (i, SP * W / 4) {
            const int rows = i / (W / 2), a = i % (W / 2) * 4;
            float4 x = by_state.add_up_four(of_state + rows * by_state.STRIDE + a);
#pragma unroll
            for (int rank = 0; rank < H; rank++)
                mail[half].put(taken + H * ONE + rows * PD + 2 * h * W + a, far[rank], x);
        }
        /* (16 states, 8 dimensions) of a state's query, key and value */
        for (int i = last_warp; i < 3 * OF_STATES; i += WARPS) {
            const int m = i % (SP / 16), a = i % OF_STATES / (SP / 16) * 8, part = i / OF_STATES;
            float sums[4] = {};
            if (part == 0)
                tile<rounded(S, 8)>(
                    sums,
                    [&](int s, int r) {
                        const float *x = d_scores + 2 * (TALK + 16 * m + s);
                        const int first = place(r, 0, AS), next = place(r + 1, 0, AS);
                        return make_float4(x[first], x[first + 16], x[next], x[next + 16]);
                    },
                    [&](int r, int n) { return below<S>(keys + a + n, WS, r); });
            else if (part == 1)
                tile<8 * ASK_TILES>(
                    sums, [&](int rows, int r) { return four(d_scores + (8 * m + rows) * AS + 2 * r); },
                    [&](int r, int n) {
                        return r < TALK ? below<C>(asks + a + n, WS, r)
                                        : below<S>(asks + C * WS + a + n, WS, r - TALK);
                    });
            else
                tile<rounded(S, 8)>(
                    sums,
                    [&](int rows, int r) { return four(shares + (8 * m + rows) * AS + 2 * (TALK + r)); },
                    [&](int r, int n) { return below<S>(d_heard + a + n, WS, r); });
            const int rows = 8 * m + g, d = 2 * (a + lane % 4 * 2);
            float4 x = neighbours(sums);
            if (part == 2) x = by_row(importance[m][0], importance[m][1]) * x;
            if (part) x = x + four(d_read + ((part - 1) * PAIRS + rows) * PW + d);
            four(d_own + rows * PO + 2 * part * W + d) = x;
        }
        __syncthreads();
        if (by_maps.works()) {
            float sums[by_maps.EIGHTS][4] = {};
            by_maps.add(
                [&](int rows, int n, int i) { return four(d_own + rows * PO + 2 * n + 16 * i); }, sums);
            float *to = taken + h * ONE + by_maps.rows() * PD + 2 * by_maps.column();
#pragma unroll
            for (int n = 0; n < by_maps.EIGHTS; n++)
#pragma unroll
                for (int rank = 0; rank < H; rank++)
                    mail[half].put(to + 16 * n, far[rank], neighbours(sums[n]));
        }
        /* while that is under way */
        EACH (i, RESULTS / 4)
            four(w.results + (here * H + h) * RESULTS + 4 * i) = four(results + 4 * i);
        EACH (i, SP * 3 * W / 4) {
            const int rows = i / (3 * W / 2), n = i % (3 * W / 2) * 2, s = state_of(rows, 0);
            float *to = w.d_own + (here * S + s) * 3 * D + row_of(n);
            to_rows(to, 3 * D, s, four(d_own + rows * PO + 2 * n));
        }
        EACH (i, SP * 4 * W / 4) {
            const int rows = i / (2 * W), n = i % (2 * W) * 2, s = state_of(rows, 0);
            float *to = w.d_gate + (here * S + s) * 4 * D + row_of(n);
            to_rows(to, 4 * D, s, d_gate(rows, n / W, h * W + n % W));
        }
        __syncthreads(); /* all have read the gradient that changes now */
        mail[half].await(round);
        for (int rows = t / NORM_LANES; rows < PAIRS; rows += THREADS / NORM_LANES) {
            constexpr int EACH_HAS = D / 2 / NORM_LANES;
            const int s = state_of(rows, 0);
            const float *of = normed + s * NORMED;
            float4 x[EACH_HAS] = {}, unit[EACH_HAS], sum = {};
#pragma unroll
            for (int i = 0; i < EACH_HAS; i++) {
                const int d = 2 * (t % NORM_LANES + i * NORM_LANES);
#pragma unroll
                for (int head = 0; head < H; head++)
                    x[i] = x[i] + four(taken + head * ONE + rows * PD + 2 * d);
                unit[i] = from_rows(of + d, NORMED, s);
                sum = sum + x[i] * unit[i];
            }
            const float2 both = over_columns(sum);
            const float4 along = by_row(total<NORM_LANES>(both.x) / -D, total<NORM_LANES>(both.y) / -D);
            const float4 scale = by_row(s < S ? of[D] : 0.0f, s + 8 < S ? of[8 * NORMED + D] : 0.0f);
#pragma unroll
            for (int i = 0; i < EACH_HAS; i++) {
                const int d = 2 * (t % NORM_LANES + i * NORM_LANES);
                float4 &by = four(grad + rows * PD + 2 * d);
                by = by * four(direct + 2 * (rows * D + d)) + four(taken + H * ONE + rows * PD + 2 * d)
                     + scale * (x[i] + along * unit[i]);
            }
        }
        __syncthreads();
    }
    if (h == 0)
        EACH (i, S * D) w.carried[b * S * D + i] = grad[place(i / D, i % D, PD)];
#pragma unroll
    for (int m = 0; m < SP / 8; m++) {
        const int s = 8 * m + g;
        const long long row = ((long long)b * H + h) * (THREADS / 8) + warp * 4 + lane % 4;
        float &to = w.d_importance[row * LANES + s];
        if (s < S) to = d_importance[m / 2][m % 2] + (begins ? 0.0f : to);
    }
    cluster_sync();
}

/* ---- gradients of the parameters, from sums over all chunks ---- */

/* Over the threads whose index has the same remainder. */
template <int N> DEVICE float total_of_block(float x)
{
    float *all = shared_memory();
    __syncthreads();
    all[threadIdx.x] = x;
    __syncthreads();
    x = 0.0f;
    for (int i = threadIdx.x % N; i < AT_ONCE; i += N) x += all[i];
    return x;
}

/* A block for what is summed over sequences, D / 16 for the layer norm, each with columns of the states'
   maps, and those for tiles of the tokens' maps. */
KERNEL(AT_ONCE) nsm_finish(const Arguments w)
{
    constexpr int THREADS = AT_ONCE, COLUMNS = 16;
    const int n_batch = w.n_batch, t = threadIdx.x;
    if (blockIdx.x > D / COLUMNS) return add_product_of_tokens(w, blockIdx.x - 1 - D / COLUMNS);
    if (blockIdx.x) {
        const int n = (blockIdx.x - 1) * COLUMNS + t % COLUMNS;
        float of_norm = 0.0f, of_bias = 0.0f;
        for (int row = t / COLUMNS; row < 3 * D; row += THREADS / COLUMNS) {
            float &to = w.to_state_maps[row * D + n], bias = w.to_state_maps_bias[row];
            of_norm += w.state_maps[row * D + n] * to;
            of_bias += w.state_maps[row * D + n] * bias;
            to = to * w.norm[n] + bias * w.norm_bias[n];
        }
        of_norm = total_of_block<COLUMNS>(of_norm);
        of_bias = total_of_block<COLUMNS>(of_bias);
        if (t < COLUMNS) w.to_norm[n] = of_norm, w.to_norm_bias[n] = of_bias;
        return;
    }
    EACH (i, S * D) {
        float sum = 0.0f;
        for (int b = 0; b < n_batch; b++) sum += w.carried[b * S * D + i];
        w.to_initial[i] = sum;
    }
    float sum = 0.0f;
    const int s = t % LANES;
    for (int n = t / LANES; n < n_batch * H * (BY_TURNS / 8) && s < S; n += THREADS / LANES)
        sum += w.d_importance[n * LANES + s];
    for (long long n = t / LANES; n < w.n_all * n_batch && s < S; n += THREADS / LANES)
        sum += w.d_read_importance[n * S + s];
    sum = total_of_block<LANES>(sum);
    if (t < S) w.to_importance[t] = w.importance[t] < 0.0f ? 0.0f : sum; /* as torch's clamp */
}
