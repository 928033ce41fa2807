/* The reads and writes of a Turing memory: `clso.models.turing` says what they are. A chunk's
   addresses come from the memory that it finds; its writes then follow each other token by token. */

#include "common.h"

typedef struct {
    long n_batch, k, c, s, d;           /* K chunks of c tokens, S slots of width d */
    const float *keys;                  /* (B, K, 2, c, d), unit length times strength: to read by, to
                                           write by */
    const float *erase, *add;           /* (B, K, c, d) */
    float *memory;                      /* (B, K + 1, S, d): as each chunk finds it, and at the end */
    float *read;                        /* (B, K, c, d) */
    float *address;                     /* (B, K, 2, c, S) */
    /* backwards: */
    const float *d_read, *d_address;    /* of `read` and `address` */
    float *d_memory;                    /* (B, S, d): of the memory at the end, then of the first */
    float *d_keys, *d_erase, *d_add;    /* zeros */
} Turing;

#define MOST_ERASED (1.0f - 1e-6f)
#define LEAST_LENGTH 1e-12f

/* Slots (S, d) of unit length, and one over their length. */
static void normalize(const float *memory, long s, long d, float *unit, float *scale)
{
    for (long r = 0; r < s; r++) {
        float length = sqrtf(dot(memory + r * d, memory + r * d, d));
        scale[r] = 1.0f / (length < LEAST_LENGTH ? LEAST_LENGTH : length);
        for (long a = 0; a < d; a++) unit[r * d + a] = memory[r * d + a] * scale[r];
    }
}

static void softmax(float *x, long n)
{
    float peak = x[0], sum = 0;
    for (long r = 1; r < n; r++) peak = x[r] > peak ? x[r] : peak;
    for (long r = 0; r < n; r++) x[r] = exp_(x[r] - peak);
    for (long r = 0; r < n; r++) sum += x[r];
    for (long r = 0; r < n; r++) x[r] /= sum;
}

/* One token's write: erase, then add. */
INLINE void write(const float *from, const float *address, const float *erase, const float *add,
                  long s, long d, float *to)
{
    for (long r = 0; r < s; r++)
        for (long a = 0; a < d; a++) {
            float gone = address[r] * erase[a];
            gone = gone > MOST_ERASED ? MOST_ERASED : gone;
            to[r * d + a] = from[r * d + a] * (1.0f - gone) + address[r] * add[a];
        }
}

static long scratch_size(const Turing *w)
{
    long most = w->d > 2 * w->c ? w->d : 2 * w->c;
    most = most > w->s ? most : w->s;
    return w->s * w->d + w->s + most * padded(w->d > w->s ? w->d : w->s);
}

int turing_advance(const Turing *w, long first, long end)
{
    long c = w->c, s = w->s, d = w->d;
    float *unit = malloc(scratch_size(w) * sizeof(float));
    if (!unit) return 1;
    float *scale = unit + s * d, *panel = scale + s;
    for (long b = first; b < end; b++)
        for (long j = 0; j < w->k; j++) {
            long at = b * w->k + j;
            const float *now = w->memory + (at + b) * s * d;
            float *next = w->memory + (at + b + 1) * s * d, *address = w->address + at * 2 * c * s;
            normalize(now, s, d, unit, scale);
            pack(unit, 1, d, d, s, panel);
            product(2 * c, d, s, w->keys + at * 2 * c * d, d, 1, panel, NULL, address, s);
            for (long a = 0; a < 2 * c; a++) softmax(address + a * s, s);
            pack(now, d, 1, s, d, panel);
            product(c, s, d, address, s, 1, panel, NULL, w->read + at * c * d, d);
            for (long a = 0; a < c; a++)
                write(a ? next : now, address + (c + a) * s, w->erase + (at * c + a) * d,
                      w->add + (at * c + a) * d, s, d, next);
        }
    free(unit);
    return 0;
}

/* One token's write backwards: `g` (S, d) is the gradient of the memory after it, then of that
   before it (`from`). That of the address is added to, so are those of erase and add. */
static void write_back(const float *restrict from, const float *restrict address,
                       const float *restrict erase, const float *restrict add, long s, long d,
                       float *restrict g, float *restrict d_address, float *restrict d_erase,
                       float *restrict d_add, float *restrict change)
{
    for (long r = 0; r < s; r++) {
        float w = address[r], *to = g + r * d;
        for (long a = 0; a < d; a++) {
            float gone = w * erase[a], free = gone > MOST_ERASED ? 0.0f : 1.0f;
            gone = gone > MOST_ERASED ? MOST_ERASED : gone;
            float by_gone = -free * to[a] * from[r * d + a];
            change[a] = by_gone * erase[a] + to[a] * add[a];
            d_erase[a] += by_gone * w;
            d_add[a] += to[a] * w;
            to[a] *= 1.0f - gone;
        }
        d_address[r] += total(change, d);
    }
}

int turing_retreat(const Turing *w, long first, long end)
{
    long c = w->c, s = w->s, d = w->d, size = s * d;
    long own = scratch_size(w), wide = 2 * c * s;
    float *unit = malloc((own + (c + 1) * size + wide + size + (d > s ? d : s)) * sizeof(float));
    if (!unit) return 1;
    float *scale = unit + size, *panel = scale + s, *steps = unit + own;
    float *by_address = steps + (c + 1) * size, *by_unit = by_address + wide;
    float *change = by_unit + size;
    for (long b = first; b < end; b++)
        for (long j = w->k - 1; j >= 0; j--) {
            long at = b * w->k + j;
            const float *now = w->memory + (at + b) * size, *keys = w->keys + at * 2 * c * d;
            const float *address = w->address + at * wide, *d_read = w->d_read + at * c * d;
            const float *erase = w->erase + at * c * d, *add = w->add + at * c * d;
            float *g = w->d_memory + b * size;
            memcpy(by_address, w->d_address + at * wide, wide * sizeof(float));
            memcpy(steps, now, size * sizeof(float));
            for (long a = 0; a + 1 < c; a++)
                write(steps + a * size, address + (c + a) * s, erase + a * d, add + a * d, s, d,
                      steps + (a + 1) * size);
            for (long a = c - 1; a >= 0; a--)
                write_back(steps + a * size, address + (c + a) * s, erase + a * d, add + a * d, s,
                           d, g, by_address + (c + a) * s, w->d_erase + (at * c + a) * d,
                           w->d_add + (at * c + a) * d, change);
            /* read = reading @ memory */
            pack(now, 1, d, d, s, panel);
            for (long a = 0; a < c; a++) {
                product(1, d, s, d_read + a * d, d, 1, panel, by_address + a * s, change, s);
                memcpy(by_address + a * s, change, s * sizeof(float));
            }
            pack(d_read, d, 1, c, d, panel);
            product(s, c, d, address, 1, s, panel, NULL, by_unit, d);
            for (long i = 0; i < size; i++) g[i] += by_unit[i];
            /* address = softmax(keys @ unit^T) */
            for (long a = 0; a < 2 * c; a++) {
                float *x = by_address + a * s, mean = dot(x, address + a * s, s);
                for (long r = 0; r < s; r++) x[r] = (x[r] - mean) * address[a * s + r];
            }
            normalize(now, s, d, unit, scale);
            pack(unit, d, 1, s, d, panel);
            product(2 * c, s, d, by_address, s, 1, panel, NULL, w->d_keys + at * 2 * c * d, d);
            pack(keys, d, 1, 2 * c, d, panel);
            product(s, 2 * c, d, by_address, 1, s, panel, NULL, by_unit, d);
            for (long r = 0; r < s; r++) {
                float *x = by_unit + r * d, along = dot(x, unit + r * d, d);
                for (long a = 0; a < d; a++)
                    g[r * d + a] += (x[a] - along * unit[r * d + a]) * scale[r];
            }
        }
    free(unit);
    return 0;
}
