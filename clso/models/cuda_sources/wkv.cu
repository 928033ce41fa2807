/* RWKV-4's weighted mean over time (Peng et al. 2023, equation 16) and its gradient: a thread goes through
   the steps of a channel. Numerator and denominator are kept in units of e^top, top being the largest
   exponent so far, as in `clso.baselines.rwkv.wkv`. */

#include "common.cuh"

constexpr int THREADS = 32, AHEAD = 8; /* steps whose inputs are on their way */

struct Arguments {
    long long n_batch, n_steps, n_channels;
    const float *rate, *bonus, *key, *value; /* (d), (d), (B, T, d), (B, T, d) */
    float *out;                              /* (B, T, d) */
    const float *grad;
    float *d_rate, *d_bonus, *d_key, *d_value; /* (B, d), (B, d), (B, T, d), (B, T, d) */
    float *log_total;                          /* (B, T, d): of the weights that a mean is of */
};

/* What steps find in memory, AHEAD steps before they need it, from the first on or from the last. */
struct Stream {
    const float *next;
    long long by, left;
    float of[AHEAD];

    MEMBER_FUNCTION Stream(const float *first, long long by, long long n) : next(first), by(by), left(n)
    {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) fetch(i);
    }
    MEMBER_FUNCTION void fetch(int i)
    {
        of[i] = left > 0 ? *next : 0.0f;
        next += by, left--;
    }
    MEMBER_FUNCTION float take(int i)
    {
        float x = of[i];
        fetch(i);
        return x;
    }
};

/* `step` with 0 to AHEAD - 1, over and over, n times in all. */
template <class Step> DEVICE void repeat(long long n, Step step)
{
    for (long long first = 0; first < n; first += AHEAD)
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (first + i < n) step(i);
}

struct Mean {
    float rate, bonus, total = 0.0f, weight = 0.0f, top = -INFINITY;
    float before, now, one_over; /* of the mean that was asked for last */

    MEMBER_FUNCTION Mean(float rate, float bonus) : rate(rate), bonus(bonus) {}
    MEMBER_FUNCTION float at(float k, float v, float &unit)
    {
        unit = fmaxf(top, bonus + k);
        before = expf(top - unit), now = expf(bonus + k - unit);
        one_over = 1.0f / (before * weight + now);
        return (before * total + now * v) * one_over;
    }
    /* How much of what was there is left. */
    MEMBER_FUNCTION float add(float k, float v)
    {
        float next = fmaxf(top - rate, k), left = expf(top - rate - next), share = expf(k - next);
        total = left * total + share * v, weight = left * weight + share, top = next;
        return left;
    }
};

KERNEL(THREADS) wkv_advance(const Arguments w)
{
    const long long channel = (long long)blockIdx.x * THREADS + threadIdx.x, d = w.n_channels;
    if (channel >= w.n_batch * d) return;
    const long long first = channel / d * w.n_steps * d + channel % d;
    Stream keys(w.key + first, d, w.n_steps), values(w.value + first, d, w.n_steps);
    Mean mean(w.rate[channel % d], w.bonus[channel % d]);
    float *out = w.out + first;
    repeat(w.n_steps, [&](int i) {
        float k = keys.take(i), v = values.take(i), unit;
        *out = mean.at(k, v, unit);
        mean.add(k, v);
        out += d;
    });
}

KERNEL(THREADS) wkv_retreat(const Arguments w)
{
    const long long channel = (long long)blockIdx.x * THREADS + threadIdx.x, d = w.n_channels;
    if (channel >= w.n_batch * d) return;
    const long long first = channel / d * w.n_steps * d + channel % d, last = first + (w.n_steps - 1) * d;
    const float rate = w.rate[channel % d];
    float d_rate = 0.0f, d_bonus = 0.0f, *d_key = w.d_key + first, *d_value = w.d_value + first;
    float *log_total = w.log_total + first;
    {
        Stream keys(w.key + first, d, w.n_steps), values(w.value + first, d, w.n_steps);
        Stream grads(w.grad + first, d, w.n_steps);
        Mean mean(rate, w.bonus[channel % d]);
        float by_total = 0.0f, by_weight = 0.0f; /* by the rate, in the units of mean */
        repeat(w.n_steps, [&](int i) {
            float k = keys.take(i), v = values.take(i), unit, y = mean.at(k, v, unit);
            float g = grads.take(i) * mean.one_over, own = g * mean.now * (v - y);
            d_rate += g * mean.before * (by_total - y * by_weight);
            d_bonus += own;
            *d_key = own, *d_value = g * mean.now, *log_total = unit - logf(mean.one_over);
            float total = mean.total, weight = mean.weight, left = mean.add(k, v);
            by_total = left * (by_total - total), by_weight = left * (by_weight - weight);
            d_key += d, d_value += d, log_total += d;
        });
    }
    w.d_rate[channel] = d_rate, w.d_bonus[channel] = d_bonus;
    Stream keys(w.key + last, -d, w.n_steps), values(w.value + last, -d, w.n_steps);
    Stream grads(w.grad + last, -d, w.n_steps), means(w.out + last, -d, w.n_steps);
    Stream totals(w.log_total + last, -d, w.n_steps), own_keys(w.d_key + last, -d, w.n_steps);
    Stream own_values(w.d_value + last, -d, w.n_steps);
    float by_total = 0.0f, by_weight = 0.0f, top = -INFINITY; /* gradients, in units of e^top */
    repeat(w.n_steps, [&](int i) {
        float k = keys.take(i), v = values.take(i), g = grads.take(i), y = means.take(i);
        float share = expf(k + top), unit = -totals.take(i);
        d_key -= d, d_value -= d;
        *d_key = own_keys.take(i) + share * (by_total * v + by_weight);
        *d_value = own_values.take(i) + share * by_total;
        float next = fmaxf(top - rate, unit), left = expf(top - rate - next), given = g * expf(unit - next);
        by_total = left * by_total + given, by_weight = left * by_weight - given * y, top = next;
    });
}
