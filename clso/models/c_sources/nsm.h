/* What the states of an NSM and its tokens have in common: norms of states, and attention. */

#include "common.h"

#define TINY 1e-20f
#define NORM_EPS 1e-5f
#define MAX_EXPONENT 30.0f

/* Layer norms of s states (d of their width), and how they were scaled. */
static void layer_norm(long s, long d, const float *state, long width, const float *norm,
                       const float *bias, float *scaled, float *scale, float *normed)
{
    for (long i = 0; i < s; i++, state += width, scaled += d, normed += d) {
        float mean = total(state, d) / d;
        for (long a = 0; a < d; a++) scaled[a] = state[a] - mean;
        scale[i] = 1.0f / sqrtf(dot(scaled, scaled, d) / d + NORM_EPS);
        for (long a = 0; a < d; a++) {
            scaled[a] *= scale[i];
            normed[a] = scaled[a] * norm[a] + bias[a];
        }
    }
}

/* The gradient of one norm, `x`, that is used up, to that of its state, in `to`, added; and those
   of its weights, added. */
static void layer_norm_back(long d, float *restrict x, const float *restrict scaled, float scale,
                            const float *restrict norm, float *restrict d_norm,
                            float *restrict d_bias, float *restrict to)
{
    for (long a = 0; a < d; a++) {
        d_norm[a] += x[a] * scaled[a];
        d_bias[a] += x[a];
        x[a] *= norm[a];
    }
    float mean = total(x, d) / d, along = dot(x, scaled, d) / d;
    for (long a = 0; a < d; a++) to[a] += scale * (x[a] - mean - along * scaled[a]);
}

/* Scores (n) to weights, and what they are without importance. */
static void attend(const float *importance, long n, float *scores, float *shares)
{
    float peak = highest(scores, importance, n);
    for (long r = 0; r < n; r++) {
        float x = scores[r] - peak;
        shares[r] = exp_(x > MAX_EXPONENT ? MAX_EXPONENT : x);
    }
    float sum = dot(importance, shares, n);
    sum = 1.0f / (sum < TINY ? TINY : sum);
    for (long r = 0; r < n; r++) {
        shares[r] *= sum;
        scores[r] = importance[r] * shares[r];
    }
}

/* The gradient of weights (n), in place, to that of their scores; that of importance, for the first
   s of them, is added. */
static void attend_back(long n, long s, const float *weights, const float *shares, float *x,
                        float *d_importance)
{
    float mean = dot(x, weights, n);
    for (long r = 0; r < n; r++) x[r] -= mean;
    for (long r = 0; r < s; r++) d_importance[r] += x[r] * shares[r];
    for (long r = 0; r < n; r++) x[r] *= weights[r];
}

/* The n states and near tokens that a chunk's tokens may read, states and earlier ones first. */
typedef struct {
    long n, c, d, n_heads;
    float *keys, *values; /* (n, d) */
    float *importance;    /* (n) */
    float *weights, *shares, *panel;
} Seen;

/* Keys and values from rows that hold them side by side. */
static void see(Seen *t, const float *rows, long row, long n, const float *importance)
{
    for (long a = 0; a < n; a++, t->n++) {
        memcpy(t->keys + t->n * t->d, rows + a * row, t->d * sizeof(float));
        memcpy(t->values + t->n * t->d, rows + a * row + t->d, t->d * sizeof(float));
        t->importance[t->n] = importance ? importance[a] : 1.0f;
    }
}

/* The weights (c, n) of a head's queries, rows `row` apart: each sees one token more than the one
   before it. `share_row` 0 if shares are of no interest. */
static void weigh(const Seen *t, long head, const float *query, long row, long share_row)
{
    long h = t->d / t->n_heads, wide = padded(t->n);
    pack(t->keys + head * h, 1, t->d, h, t->n, t->panel);
    product(t->c, h, t->n, query + head * h, row, 1, t->panel, NULL, t->weights, wide);
    for (long a = 0; a < t->c; a++) {
        long seen = t->n - t->c + a + 1;
        float *weights = t->weights + a * wide;
        attend(t->importance, seen, weights, t->shares + a * share_row);
        memset(weights + seen, 0, (t->n - seen) * sizeof(float));
    }
}

/* What a chunk's tokens read (c, d), by their queries, rows `row` apart. */
static void read_seen(const Seen *t, const float *query, long row, float *out)
{
    long h = t->d / t->n_heads;
    for (long i = 0; i < t->n_heads; i++) {
        weigh(t, i, query, row, 0);
        pack(t->values + i * h, t->d, 1, t->n, h, t->panel);
        product(t->c, t->n, h, t->weights, padded(t->n), 1, t->panel, NULL, out + i * h, t->d);
    }
}
