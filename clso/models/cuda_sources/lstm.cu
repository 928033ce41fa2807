/* An LSTM's recurrence and its gradient: a block goes through the steps of a sequence with the recurrent
   weights in registers. Unit u and gate q, in torch's order input, forget, candidate, output, are thread
   4 u + q. UNITS, the hidden units, is given by the compiler's command line; those up to a multiple of 16 have
   weights of zero and stay zero. */

#include "common.cuh"

constexpr int D = rounded(UNITS, 16);
constexpr int THREADS = 4 * D, PART = D / 4; /* products of a thread, for each of four sums */
constexpr int STRIDE = PART + 4;             /* of parts in shared memory, in different banks */
constexpr int AHEAD = 4;                     /* steps whose inputs are on their way */

static_assert(D <= 64, "sizes");

struct Arguments {
    long long n_batch, n_steps;
    const float *gates, *weight;  /* (B, T, 4 UNITS): of inputs, with biases; (4 UNITS, UNITS) */
    float *hidden, *cell, *opened; /* (B, T, UNITS) twice; (B, T, 4 UNITS): the gates as they were open */
    const float *grad;            /* (B, T, UNITS) */
    float *d_gates;               /* (B, T, 4 UNITS) */
};

/* Of four sums one, in pairs of lanes that differ in `first` and `second`: that of a lane's bits. */
DEVICE float one_of(const float (&sums)[4], int first, int second)
{
    bool upper = threadIdx.x & first, odd = threadIdx.x & second;
    float a = (upper ? sums[2] : sums[0]) + exchange(upper ? sums[0] : sums[2], first, 32);
    float b = (upper ? sums[3] : sums[1]) + exchange(upper ? sums[1] : sums[3], first, 32);
    return (odd ? b : a) + exchange(odd ? a : b, second, 32);
}

/* Four sums over a part of `x`. */
DEVICE void multiply_part(const float (&of)[4][PART], const float *x, float (&sums)[4])
{
#pragma unroll
    for (int k = 0; k < PART; k += 4) {
        float4 y = *(const float4 *)(x + k);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            sums[n] += of[n][k] * y.x;
            sums[n] += of[n][k + 1] * y.y;
            sums[n] += of[n][k + 2] * y.z;
            sums[n] += of[n][k + 3] * y.w;
        }
    }
}

DEVICE bool is_there(int unit) { return UNITS == D || unit < UNITS; }

/* Of a gate's unit, by a unit of the hidden state. */
DEVICE float weight_of(const Arguments &w, int gate, int unit, int by)
{
    return is_there(unit) && is_there(by) ? w.weight[(gate * UNITS + unit) * UNITS + by] : 0.0f;
}

/* A gate is 1 / (1 + 2^x), its x so many times what comes in; the candidate is twice that, less one. */
DEVICE constexpr float scale(int q) { return q == 2 ? -2.0f * LOG2_E : -LOG2_E; }

KERNEL(THREADS) lstm_advance(const Arguments w)
{
    const int t = threadIdx.x, unit = t / 4, q = t % 4, n_steps = w.n_steps;
    const bool there = is_there(unit);
    const long long first = blockIdx.x * w.n_steps;
    float *seen = shared_memory(); /* the hidden state twice, in turns */
    float of[4][PART], ahead[AHEAD], c = 0.0f;
#pragma unroll
    for (int i = 0; i < 4 * PART; i++)
        of[i / PART][i % PART] = scale(i / PART) * weight_of(w, i / PART, unit, q * PART + i % PART);
    EACH (i, 2 * 4 * STRIDE) seen[i] = 0.0f;
    const float *next = w.gates + first * 4 * UNITS + q * UNITS + unit;
    float *opened = w.opened + first * 4 * UNITS + q * UNITS + unit;
    float *out = (q == 1 ? w.hidden : w.cell) + first * UNITS + unit;
#pragma unroll
    for (int i = 0; i < AHEAD; i++, next += 4 * UNITS) ahead[i] = there && i < n_steps ? scale(q) * *next : 0.0f;
    __syncthreads();
    for (int step = 0; step < n_steps; step += AHEAD)
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (step + i >= n_steps) break;
            float sums[4] = {};
            multiply_part(of, seen + (i % 2 * 4 + q) * STRIDE, sums);
            float x = ahead[i] + one_of(sums, 2, 1);
            if (there && step + i + AHEAD < n_steps) ahead[i] = scale(q) * *next;
            x = reciprocal(1.0f + power_of_two(x));
            x = q == 2 ? 2.0f * x - 1.0f : x;
            /* of the same unit */
            float y = exchange(x, 1, 32), z = exchange(x, 2, 32), v = exchange(x, 3, 32);
            float kept = q == 0 ? y : q == 1 ? x : q == 2 ? v : z;
            float shown = q == 0 ? v : q == 1 ? z : q == 2 ? y : x;
            c = kept * c + (q % 2 ? y * v : x * z);
            float h = shown * tanh_(c);
            if (q == 0) seen[((i + 1) % 2 * 4 + unit / PART) * STRIDE + unit % PART] = h;
            if (there && q == 1) *out = h;
            if (there && q == 2) *out = c;
            if (there) *opened = x;
            next += 4 * UNITS, opened += 4 * UNITS, out += UNITS;
            __syncthreads();
        }
}

/* By what the gradients of a step's gates follow from those of its hidden state and cell. */
struct Slopes {
    float gate, hidden, kept; /* of the thread's gate, of the cell by the hidden state, of the cell before */
};

/* `x` is the gate, `c` the cell, `before` the one before, which is zero at first. */
DEVICE Slopes slopes(int q, float x, float c, float before)
{
    float y = exchange(x, 1, 32), z = exchange(x, 2, 32), v = exchange(x, 3, 32); /* of the same unit */
    float kept = q == 0 ? y : q == 1 ? x : q == 2 ? v : z;
    float shown = q == 0 ? v : q == 1 ? z : q == 2 ? y : x;
    float s = tanh_(c), slope = q == 2 ? 1.0f - x * x : x * (1.0f - x);
    return {slope * (q % 2 == 0 ? z : q == 1 ? before : s), shown * (1.0f - s * s), kept};
}

KERNEL(THREADS) lstm_retreat(const Arguments w)
{
    const int t = threadIdx.x, unit = t / 4, q = t % 4, part = t % 16, n_steps = w.n_steps;
    const long long end = (blockIdx.x + 1) * w.n_steps;
    float *seen = shared_memory(); /* gradients of gates twice, in turns */
    float of[4][PART], back = 0.0f, d_cell = 0.0f;
    /* four units of 16 threads, and a sixteenth of the gates each */
#pragma unroll
    for (int i = 0; i < 4 * PART; i++)
        of[i / PART][i % PART] =
            weight_of(w, part / 4, part % 4 * PART + i % PART, t / 16 * 4 + i / PART);
    const bool there = is_there(unit);
    const float *opened = w.opened + (end - 1) * 4 * UNITS + q * UNITS + unit;
    const float *cell = w.cell + (end - 1) * UNITS + unit, *grad = w.grad + (end - 1) * UNITS + unit;
    float *out = w.d_gates + (end - 1) * 4 * UNITS + q * UNITS + unit;
    float x_ahead[AHEAD], c_ahead[AHEAD], g_ahead[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; i++, opened -= 4 * UNITS, cell -= UNITS, grad -= UNITS) {
        bool known = there && i < n_steps;
        x_ahead[i] = known ? *opened : 0.0f;
        c_ahead[i] = known ? *cell : 0.0f;
        g_ahead[i] = known ? *grad : 0.0f;
    }
    const int place = (q * D + unit) / PART * STRIDE + (q * D + unit) % PART;
    Slopes now = slopes(q, x_ahead[0], c_ahead[0], c_ahead[1]);
    for (int step = 0; step < n_steps; step += AHEAD)
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (step + i >= n_steps) break;
            const int next = (i + 1) % AHEAD;
            float d_hidden = g_ahead[i] + back;
            d_cell += d_hidden * now.hidden;
            float d = now.gate * (q == 3 ? d_hidden : d_cell);
            d_cell *= now.kept;
            seen[i % 2 * 16 * STRIDE + place] = d;
            if (there) *out = d;
            if (there && step + i + AHEAD < n_steps) x_ahead[i] = *opened, c_ahead[i] = *cell, g_ahead[i] = *grad;
            else x_ahead[i] = c_ahead[i] = g_ahead[i] = 0.0f;
            opened -= 4 * UNITS, cell -= UNITS, grad -= UNITS, out -= 4 * UNITS;
            __syncthreads();
            now = slopes(q, x_ahead[next], c_ahead[next], c_ahead[(i + 2) % AHEAD]);
            float sums[4] = {};
            multiply_part(of, seen + (i % 2 * 16 + part) * STRIDE, sums);
            back = total<4>(one_of(sums, 8, 4));
        }
}
