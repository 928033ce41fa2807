/* Selective state spaces: `clso.models.selective` says what they are. Their states (E, N) are never
   held for more than a segment of tokens. */

#include "common.h"

typedef struct {
    long n_batch, n_tokens, e, n, segment;
    const float *x, *step; /* (B, T, E) */
    const float *a;        /* (E, N) */
    const float *b, *c;    /* (B, T, N) */
    float *starts;         /* (B, segments, E, N): the states before each segment */
    float *out;            /* (B, T, E) */
    /* backwards: */
    const float *grad;              /* (B, T, E) */
    float *d_x, *d_step, *d_b, *d_c; /* zeros */
    float *d_a;                     /* (B, E, N), zeros */
} Selective;

/* h (E, N) before a token -> after it, in `next`, which may be h. */
INLINE void advance(const Selective *w, const float *x, const float *step, const float *b,
                    const float *h, float *next)
{
    for (long i = 0; i < w->e; i++) {
        float gain = step[i] * x[i];
        const float *a = w->a + i * w->n, *from = h + i * w->n;
        float *to = next + i * w->n;
        for (long k = 0; k < w->n; k++) to[k] = exp_(step[i] * a[k]) * from[k] + gain * b[k];
    }
}

int selective_scan(const Selective *w, long first, long end)
{
    long e = w->e, n = w->n, segments = (w->n_tokens + w->segment - 1) / w->segment;
    float *h = malloc(e * n * sizeof(float));
    if (!h) return 1;
    for (long q = first; q < end; q++) {
        memset(h, 0, e * n * sizeof(float));
        for (long t = 0; t < w->n_tokens; t++) {
            long at = q * w->n_tokens + t;
            if (t % w->segment == 0)
                memcpy(w->starts + (q * segments + t / w->segment) * e * n, h, e * n * sizeof(float));
            advance(w, w->x + at * e, w->step + at * e, w->b + at * n, h, h);
            for (long i = 0; i < e; i++) w->out[at * e + i] = dot(h + i * n, w->c + at * n, n);
        }
    }
    free(h);
    return 0;
}

/* One token backwards: `g` (E, N) is the gradient of the state after it, then of that before it. */
static void retreat(const Selective *w, long at, float *restrict d_a, const float *before,
                    const float *after, float *restrict g, float *restrict change)
{
    long e = w->e, n = w->n;
    const float *b = w->b + at * n, *c = w->c + at * n;
    float *d_b = w->d_b + at * n, *d_c = w->d_c + at * n;
    for (long i = 0; i < e; i++) {
        float x = w->x[at * e + i], step = w->step[at * e + i], grad = w->grad[at * e + i];
        const float *a = w->a + i * n, *old = before + i * n, *new = after + i * n;
        float *to = g + i * n, *by_a = d_a + i * n;
        for (long k = 0; k < n; k++) {
            to[k] += grad * c[k];
            d_c[k] += grad * new[k];
            d_b[k] += step * x * to[k];
        }
        float by_gain = dot(to, b, n);
        for (long k = 0; k < n; k++) {
            float decay = exp_(step * a[k]), by_exponent = to[k] * old[k] * decay;
            by_a[k] += by_exponent * step;
            change[k] = by_exponent * a[k];
            to[k] *= decay;
        }
        w->d_x[at * e + i] = by_gain * step;
        w->d_step[at * e + i] = by_gain * x + total(change, n);
    }
}

int selective_scan_back(const Selective *w, long first, long end)
{
    long e = w->e, n = w->n, size = e * n;
    long segments = (w->n_tokens + w->segment - 1) / w->segment;
    float *all = malloc(((w->segment + 2) * size + n) * sizeof(float)); /* h, then g */
    if (!all) return 1;
    float *g = all + (w->segment + 1) * size;
    for (long q = first; q < end; q++) {
        memset(g, 0, size * sizeof(float));
        for (long part = segments - 1; part >= 0; part--) {
            long start = part * w->segment, left = w->n_tokens - start;
            long count = left < w->segment ? left : w->segment, at = q * w->n_tokens + start;
            memcpy(all, w->starts + (q * segments + part) * size, size * sizeof(float));
            for (long t = 0; t < count; t++)
                advance(w, w->x + (at + t) * e, w->step + (at + t) * e, w->b + (at + t) * n,
                        all + t * size, all + (t + 1) * size);
            for (long t = count - 1; t >= 0; t--)
                retreat(w, at + t, w->d_a + q * size, all + t * size, all + (t + 1) * size, g,
                        g + size);
        }
    }
    free(all);
    return 0;
}
