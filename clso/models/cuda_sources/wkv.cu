/* RWKV-4's weighted mean over time (Peng et al. 2023, equation 16) and its gradient: a thread goes through
   the steps of a channel in a segment of time. Sums are kept in units of e^top, top being the largest
   exponent so far, as in `clso.baselines.rwkv.wkv`. Segments are gone through at once: first from nothing,
   which gives what each leaves to those after it (or, backwards, before it), then from what the others left. */

#include "common.cuh"

constexpr int THREADS = 32, AHEAD = 8; /* steps whose inputs are on their way */

struct Arguments {
    long long n_batch, n_steps, n_channels, n_segments, length; /* steps of a segment, the last but one */
    const float *rate, *bonus, *key, *value;                    /* (d), (d), (B, T, d), (B, T, d) */
    float *out;                                                 /* (B, T, d) */
    float *ends, *starts; /* (B, segments, 5, d), (B, segments, 3, d): what segments leave, from nothing, to
                             those after and before them: sums, top, and by the rate */
    const float *grad;
    float *d_rate, *d_bonus, *d_key, *d_value; /* (B, segments, d) twice, (B, T, d) twice */
    float *log_total;                          /* (B, T, d): of the weights that a mean is of */
};

/* What steps find in memory, AHEAD steps before they need it, from the first on or from the last. */
struct Stream {
    const float *next;
    long long by;
    int left;
    float of[AHEAD];

    MEMBER_FUNCTION Stream(const float *first, long long by, int n) : next(first), by(by), left(n)
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
template <class Step> DEVICE void repeat(int n, Step step)
{
    for (int first = 0; first < n; first += AHEAD)
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (first + i < n) step(i);
}

/* Of a thread. */
struct Place {
    long long d, segment, sequence, n_segments;
    int channel, n_steps;
    float rate, bonus;
    long long first, last; /* of its steps, in arrays of (B, T, d) */
    bool there;

    MEMBER_FUNCTION Place(const Arguments &w)
    {
        const long long index = (long long)blockIdx.x * THREADS + threadIdx.x;
        d = w.n_channels, n_segments = w.n_segments;
        channel = index % d, segment = index / d % n_segments, sequence = index / d / n_segments;
        there = sequence < w.n_batch;
        const long long begin = segment * w.length, steps = w.n_steps - begin;
        n_steps = steps < w.length ? steps : w.length;
        rate = w.rate[channel], bonus = w.bonus[channel];
        first = (sequence * w.n_steps + begin) * d + channel, last = first + (n_steps - 1) * d;
    }
    /* Its channel in (B, segments, `size`, d). */
    MEMBER_FUNCTION long long at(long long of_segment, int size) const
    {
        return (sequence * n_segments + of_segment) * size * d + channel;
    }
};

/* Two sums over the steps so far, each step's share e^rate times less than at the step before. */
struct Sums {
    float rate, total = 0.0f, weight = 0.0f, top = -INFINITY;

    MEMBER_FUNCTION Sums(float rate) : rate(rate) {}
    /* After some steps that add `a` and `b`, in units of e^exponent. Gives how much is left of what was
       there, and what of that which is added. */
    MEMBER_FUNCTION float2 add(float exponent, float a, float b, float steps = 1.0f)
    {
        const float old = top - steps * rate, next = fmaxf(old, exponent);
        const float left = expf(old - next), share = expf(exponent - next);
        total = left * total + share * a, weight = left * weight + share * b, top = next;
        return make_float2(left, share);
    }
};

/* Means of values so far, which weigh e^key. */
struct Mean {
    float bonus, by_total = 0.0f, by_weight = 0.0f; /* sums by the rate, in their units */
    Sums sums;
    float before, now, one_over, unit; /* of the mean that was asked for last */

    MEMBER_FUNCTION Mean(const Place &place) : bonus(place.bonus), sums(place.rate) {}
    MEMBER_FUNCTION float at(float k, float v)
    {
        unit = fmaxf(sums.top, bonus + k);
        before = expf(sums.top - unit), now = expf(bonus + k - unit);
        one_over = 1.0f / (before * sums.weight + now);
        return (before * sums.total + now * v) * one_over;
    }
    MEMBER_FUNCTION void add(float k, float v)
    {
        const float total = sums.total, weight = sums.weight, left = sums.add(k, v, 1.0f).x;
        by_total = left * (by_total - total), by_weight = left * (by_weight - weight);
    }
    MEMBER_FUNCTION void store(float *to, long long d) const
    {
        to[0] = sums.total, to[d] = sums.weight, to[2 * d] = sums.top, to[3 * d] = by_total, to[4 * d] = by_weight;
    }
    /* What the segments before one left. */
    MEMBER_FUNCTION void gather(const Arguments &w, const Place &place)
    {
        const float *from = w.ends + place.at(0, 5), steps = w.length;
        const long long d = place.d;
#pragma unroll 4
        for (int i = 0; i < place.segment; i++, from += 5 * d) {
            const float total = sums.total, weight = sums.weight;
            const float2 of = sums.add(from[2 * d], from[0], from[d], steps);
            by_total = of.x * (by_total - steps * total) + of.y * from[3 * d];
            by_weight = of.x * (by_weight - steps * weight) + of.y * from[4 * d];
        }
    }
};

/* What all segments but the last leave. */
KERNEL(THREADS) wkv_ends(const Arguments w)
{
    const Place place(w);
    if (!place.there || place.segment == place.n_segments - 1) return;
    Stream keys(w.key + place.first, place.d, place.n_steps), values(w.value + place.first, place.d, place.n_steps);
    Mean mean(place);
    repeat(place.n_steps, [&](int i) {
        float k = keys.take(i), v = values.take(i);
        mean.add(k, v);
    });
    mean.store(w.ends + place.at(place.segment, 5), place.d);
}

KERNEL(THREADS) wkv_advance(const Arguments w)
{
    const Place place(w);
    if (!place.there) return;
    Stream keys(w.key + place.first, place.d, place.n_steps), values(w.value + place.first, place.d, place.n_steps);
    Mean mean(place);
    mean.gather(w, place);
    float *out = w.out + place.first;
    repeat(place.n_steps, [&](int i) {
        float k = keys.take(i), v = values.take(i);
        *out = mean.at(k, v);
        mean.add(k, v);
        out += place.d;
    });
}

/* What steps do to their own means and to the rate, and what segments leave to those before them. */
KERNEL(THREADS) wkv_unread(const Arguments w)
{
    const Place place(w);
    if (!place.there) return;
    const long long d = place.d;
    const int n = place.n_steps;
    float d_rate = 0.0f, d_bonus = 0.0f;
    float *d_key = w.d_key + place.first, *d_value = w.d_value + place.first;
    float *log_total = w.log_total + place.first;
    Stream keys(w.key + place.first, d, n), values(w.value + place.first, d, n);
    Stream grads(w.grad + place.first, d, n);
    Mean mean(place);
    mean.gather(w, place);
    repeat(n, [&](int i) {
        float k = keys.take(i), v = values.take(i), y = mean.at(k, v);
        float g = grads.take(i) * mean.one_over, own = g * mean.now * (v - y);
        d_rate += g * mean.before * (mean.by_total - y * mean.by_weight);
        d_bonus += own;
        *d_key = own, *d_value = g * mean.now, *log_total = mean.unit - logf(mean.one_over);
        mean.add(k, v);
        d_key += d, d_value += d, log_total += d;
    });
    w.d_rate[place.at(place.segment, 1)] = d_rate, w.d_bonus[place.at(place.segment, 1)] = d_bonus;
    if (!place.segment) return;
    Stream back(w.grad + place.last, -d, n), means(w.out + place.last, -d, n), totals(w.log_total + place.last, -d, n);
    Sums sums(place.rate);
    repeat(n, [&](int i) {
        float g = back.take(i), y = means.take(i);
        sums.add(-totals.take(i), g, -g * y);
    });
    float *to = w.starts + place.at(place.segment, 3);
    to[0] = sums.total, to[d] = sums.weight, to[2 * d] = sums.top;
}

KERNEL(THREADS) wkv_retreat(const Arguments w)
{
    const Place place(w);
    if (!place.there) return;
    const long long d = place.d;
    const int n = place.n_steps;
    Stream keys(w.key + place.last, -d, n), values(w.value + place.last, -d, n), grads(w.grad + place.last, -d, n);
    Stream means(w.out + place.last, -d, n), totals(w.log_total + place.last, -d, n);
    Stream own_keys(w.d_key + place.last, -d, n), own_values(w.d_value + place.last, -d, n);
    Sums sums(place.rate);
#pragma unroll 4
    for (long long i = place.n_segments - 1; i > place.segment; i--) {
        const float *from = w.starts + place.at(i, 3);
        const long long left = w.n_steps - i * w.length;
        sums.add(from[2 * d], from[0], from[d], left < w.length ? left : w.length);
    }
    float *d_key = w.d_key + place.last, *d_value = w.d_value + place.last;
    repeat(n, [&](int i) {
        float k = keys.take(i), v = values.take(i), g = grads.take(i), y = means.take(i);
        float share = expf(k + sums.top);
        *d_key = own_keys.take(i) + share * (sums.total * v + sums.weight);
        *d_value = own_values.take(i) + share * sums.total;
        sums.add(-totals.take(i), g, -g * y);
        d_key -= d, d_value -= d;
    });
}
