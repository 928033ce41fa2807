/* The states of an NSM: `clso.models.nsm_recurrence` has the words and the letters of shapes, and
   the same in plain torch. */

#include "common.h"

typedef struct {
    long n_batch, k, c, s, d, n_heads, gru, hears, top_k;
    long before;         /* whether a chunk is given before the first, to be read only */
    const float *tokens; /* (B, K, c, 2 d): route queries and values; not if tokens read: */
    const float *x, *token_maps, *token_bias; /* (B, before + K, c, d), (4 d, d), (4 d): to read
                                                 queries, route queries, keys, values */
    const float *norm, *norm_bias;
    const float *maps, *maps_bias;     /* (3 d, d), (3 d): a state's query, key and value */
    const float *gate, *gate_bias;     /* (4 d, 3 d), (4 d): of [message heard shown] */
    const float *importance;           /* (S) */
    float *states;                     /* (K + 1, B, S, width); the first K are given backwards */
    float *found;                      /* (B, K, c, d): what tokens read, or NULL: they do not */
    /* backwards: */
    const float *grad;                 /* (K, B, S, width), of the states before each chunk */
    float *carried;                    /* (B, S, width): of the states after, then before all chunks */
    float *d_tokens;                   /* as tokens */
    float *d_gate, *seen, *d_own, *normed; /* (K, B, S, gates d), 3 d, 3 d, d */
    float *d_norm, *d_norm_bias, *d_importance; /* (B, d), (B, d), (B, S): added to */
} Nsm;

#define LEAST_MASS 1e-6f
#define TINY 1e-20f
#define NORM_EPS 1e-5f
#define MAX_EXPONENT 30.0f

typedef struct {
    Packed maps, gate, gate_back, maps_back, token_maps;
    float *all, *places[5];
    float *normed, *scaled, *scale, *own, *inputs, *change, *arguments;
    float *weights, *shares, *mass, *kept, *panel;
    float *keys, *values, *importance; /* of all that a token may read */
    float *tokens;                     /* (2 c, 4 d): of the chunk before and of this one */
    float *told, *d_sent, *d_mass, *d_weights, *d_normed, *direct;
} Scratch;

/* Sizes if `base` is NULL, else also the parts' places. */
static long lay_out(const Nsm *w, Scratch *t, float *base, int back)
{
    long d = w->d, s = w->s, c = w->c, n = 4 * d, rows = s + c, most = s + 2 * c, at = 0;
    long wide = padded(s), widest = padded(most);
    most = d > most ? d : most;
    at = take(base, &t->places[0], at, packed_size(d, 3 * d));
    at = take(base, &t->places[1], at, packed_size(3 * d, n));
    at = take(base, &t->normed, at, s * d);
    at = take(base, &t->scaled, at, s * d);
    at = take(base, &t->scale, at, s);
    at = take(base, &t->own, at, s * 3 * d);
    at = take(base, &t->inputs, at, s * 3 * d);
    at = take(base, &t->change, at, 2 * d);
    at = take(base, &t->arguments, at, s * n);
    at = take(base, &t->weights, at, w->n_heads * rows * wide);
    at = take(base, &t->shares, at, w->n_heads * rows * wide);
    at = take(base, &t->mass, at, w->n_heads * s);
    at = take(base, &t->kept, at, s);
    at = take(base, &t->panel, at, most * (padded(d) + widest));
    if (w->found) {
        at = take(base, &t->keys, at, (s + 2 * c) * d);
        at = take(base, &t->values, at, (s + 2 * c) * d);
        at = take(base, &t->importance, at, widest);
        at = take(base, &t->tokens, at, 2 * c * 4 * d);
        at = take(base, &t->places[4], at, packed_size(d, 4 * d));
        at = take(base, &t->told, at, (c + 1) * widest);
    }
    if (back) {
        at = take(base, &t->places[2], at, packed_size(n, 3 * d));
        at = take(base, &t->places[3], at, packed_size(3 * d, d));
        at = take(base, &t->told, at, s * 3 * d);
        at = take(base, &t->d_sent, at, s * d);
        at = take(base, &t->d_mass, at, s);
        at = take(base, &t->d_weights, at, rows * wide);
        at = take(base, &t->d_normed, at, s * d);
        at = take(base, &t->direct, at, s * 2 * d);
    }
    return at;
}

static void layer_norm(const Nsm *w, const Scratch *t, const float *state, long width)
{
    for (long i = 0; i < w->s; i++, state += width) {
        float mean = total(state, w->d) / w->d, *x = t->scaled + i * w->d;
        for (long a = 0; a < w->d; a++) x[a] = state[a] - mean;
        float scale = 1.0f / sqrtf(dot(x, x, w->d) / w->d + NORM_EPS);
        t->scale[i] = scale;
        for (long a = 0; a < w->d; a++) {
            x[a] *= scale;
            t->normed[i * w->d + a] = x[a] * w->norm[a] + w->norm_bias[a];
        }
    }
}

/* Scores (S, padded) to weights, and what they are without importance. */
static void attend(const float *importance, long s, float *scores, float *shares)
{
    float peak = -FLT_MAX, sum = 0;
    for (long r = 0; r < s; r++)
        if (importance[r] > 0 && scores[r] > peak) peak = scores[r];
    for (long r = 0; r < s; r++) {
        float x = scores[r] - peak;
        x = x > MAX_EXPONENT ? MAX_EXPONENT : x;
        shares[r] = exp_(x);
    }
    for (long r = 0; r < s; r++) sum += importance[r] * shares[r];
    sum = 1.0f / (sum < TINY ? TINY : sum);
    for (long r = 0; r < s; r++) {
        shares[r] *= sum;
        scores[r] = importance[r] * shares[r];
    }
}

/* Only the heaviest stay, the first of equals, and share all of the weight. */
static void keep_top(long s, long top_k, float *weights, float *shares)
{
    char chosen[s];
    float total = 0;
    memset(chosen, 0, s);
    for (long n = 0; n < top_k; n++) {
        long best = -1;
        for (long r = 0; r < s; r++)
            if (!chosen[r] && (best < 0 || weights[r] > weights[best])) best = r;
        chosen[best] = 1;
        total += weights[best];
    }
    total = 1.0f / (total < TINY ? TINY : total);
    for (long r = 0; r < s; r++) {
        weights[r] = chosen[r] ? weights[r] * total : 0.0f;
        shares[r] = chosen[r] ? shares[r] * total : 0.0f;
    }
}

/* All that a chunk does to the states that it finds, up to the arguments of the gate. */
static void chunk(const Nsm *w, const Scratch *t, const float *tokens, const float *state,
                  long width, int hears)
{
    long d = w->d, s = w->s, c = w->c, h = d / w->n_heads, wide = padded(s);
    long asking = hears ? c + s : c, row = w->found ? 4 * d : 2 * d;
    layer_norm(w, t, state, width);
    times(s, t->normed, d, &t->maps, w->maps_bias, t->own, 3 * d);
    memset(t->kept, 0, s * sizeof(float));
    for (long i = 0; i < w->n_heads; i++) {
        float *weights = t->weights + i * (c + s) * wide, *mass = t->mass + i * s;
        float *shares = t->shares + i * (c + s) * wide;
        const float *query = tokens + (w->found ? d : 0) + i * h, *own = t->own + i * h;
        const float *value = tokens + row - d + i * h;
        pack(own + d, 1, 3 * d, h, s, t->panel);
        product(c, h, s, query, row, 1, t->panel, NULL, weights, wide);
        if (hears) product(s, h, s, own, 3 * d, 1, t->panel, NULL, weights + c * wide, wide);
        for (long a = 0; a < asking; a++) {
            attend(w->importance, s, weights + a * wide, shares + a * wide);
            if (w->top_k && a < c) keep_top(s, w->top_k, weights + a * wide, shares + a * wide);
        }
        memset(mass, 0, s * sizeof(float));
        for (long a = 0; a < c; a++)
            for (long r = 0; r < s; r++) mass[r] += weights[a * wide + r];
        pack(value, row, 1, c, h, t->panel);
        product(s, c, h, weights, 1, wide, t->panel, NULL, t->inputs + i * h, 3 * d);
        for (long r = 0; r < s; r++) {
            float inverse = 1.0f / (mass[r] < LEAST_MASS ? LEAST_MASS : mass[r]);
            for (long a = 0; a < h; a++) t->inputs[r * 3 * d + i * h + a] *= inverse;
            t->kept[r] += mass[r];
        }
        if (hears) {
            pack(own + 2 * d, 3 * d, 1, s, h, t->panel);
            product(s, s, h, weights + c * wide, wide, 1, t->panel, NULL,
                    t->inputs + d + i * h, 3 * d);
        }
    }
    for (long r = 0; r < s; r++) {
        if (!hears) memset(t->inputs + r * 3 * d + d, 0, d * sizeof(float));
        memcpy(t->inputs + r * 3 * d + 2 * d, state + r * width, d * sizeof(float));
        t->kept[r] = exp_(-t->kept[r] / w->n_heads);
    }
}

/* What the tokens of a chunk read of the states that it found (`t->own`) and of near tokens, those of
   the chunk before it included, if there is one: out (c, d). */
static void read_near(const Nsm *w, const Scratch *t, const float *tokens, int have_before,
                      float *out)
{
    long d = w->d, s = w->s, c = w->c, h = d / w->n_heads, near = have_before ? 2 * c : c;
    long n = s + near, wide = padded(n);
    float *scores = t->told, *shares = scores + c * wide;
    memcpy(t->importance, w->importance, s * sizeof(float));
    for (long a = s; a < n; a++) t->importance[a] = 1.0f;
    for (long a = 0; a < n; a++) { /* keys (n, d) and values */
        const float *from = a < s ? t->own + a * 3 * d + d : tokens + (a - s - near + c) * 4 * d + 2 * d;
        memcpy(t->keys + a * d, from, d * sizeof(float));
        memcpy(t->values + a * d, from + d, d * sizeof(float));
    }
    for (long i = 0; i < w->n_heads; i++) {
        pack(t->keys + i * h, 1, d, h, n, t->panel);
        product(c, h, n, tokens + i * h, 4 * d, 1, t->panel, NULL, scores, wide);
        for (long a = 0; a < c; a++) {
            long seen = n - c + a + 1;
            attend(t->importance, seen, scores + a * wide, shares);
            memset(scores + a * wide + seen, 0, (n - seen) * sizeof(float));
        }
        pack(t->values + i * h, d, 1, n, h, t->panel);
        product(c, n, h, scores, wide, 1, t->panel, NULL, out + i * h, d);
    }
}

static void gru(const float *restrict x, long d, float kept, const float *restrict old,
                float *restrict next)
{
    for (long a = 0; a < d; a++) {
        float r = sigmoid(x[a]), z = sigmoid(x[d + a]);
        float n = tanh_(x[2 * d + a] + r * x[3 * d + a]);
        float new = n + z * (old[a] - n);
        next[a] = old[a] + (1 - kept) * (new - old[a]); /* still if all is kept */
    }
}

static void lstm(const float *restrict x, long d, float kept, const float *restrict old,
                 float *restrict next)
{
    for (long a = 0; a < d; a++) {
        float cell = sigmoid(x[d + a]) * old[d + a] + sigmoid(x[a]) * tanh_(x[2 * d + a]);
        float new = sigmoid(x[3 * d + a]) * tanh_(cell);
        next[a] = old[a] + (1 - kept) * (new - old[a]);
        next[d + a] = old[d + a] + (1 - kept) * (cell - old[d + a]);
    }
}

/* The maps of a chunk's tokens (c, 4 d), behind those of the chunk before it. */
static const float *map_tokens(const Nsm *w, const Scratch *t, long b, long j)
{
    long d = w->d, size = w->c * 4 * d;
    const float *x = w->x + (b * (w->before + w->k) + w->before + j) * w->c * d;
    float *own = t->tokens + size;
    if (j)
        memcpy(t->tokens, own, size * sizeof(float));
    else if (w->before)
        times(w->c, x - w->c * d, d, &t->token_maps, w->token_bias, t->tokens, 4 * d);
    times(w->c, x, d, &t->token_maps, w->token_bias, own, 4 * d);
    return own;
}

int nsm_advance(const Nsm *w, long first, long end)
{
    Scratch t;
    long d = w->d, s = w->s, width = w->gru ? d : 2 * d, step = w->n_batch * s * width;
    t.all = malloc(lay_out(w, &t, NULL, 0) * sizeof(float));
    if (!t.all) return 1;
    lay_out(w, &t, t.all, 0);
    t.maps = pack_matrix(w->maps, 1, d, d, 3 * d, t.places[0]);
    t.gate = pack_matrix(w->gate, 1, 3 * d, 3 * d, 4 * d, t.places[1]);
    if (w->found) t.token_maps = pack_matrix(w->token_maps, 1, d, d, 4 * d, t.places[4]);
    for (long b = first; b < end; b++)
        for (long j = 0; j < w->k; j++) {
            const float *now = w->states + j * step + b * s * width;
            const float *tokens = w->tokens + (b * w->k + j) * w->c * 2 * d;
            if (w->found) tokens = map_tokens(w, &t, b, j);
            chunk(w, &t, tokens, now, width, w->hears);
            if (w->found)
                read_near(w, &t, tokens, w->before + j > 0, w->found + (b * w->k + j) * w->c * d);
            times(s, t.inputs, 3 * d, &t.gate, w->gate_bias, t.arguments, 4 * d);
            for (long r = 0; r < s; r++)
                (w->gru ? gru : lstm)(t.arguments + r * 4 * d, d, t.kept[r], now + r * width,
                                      (float *)now + step + r * width);
        }
    free(t.all);
    return 0;
}

/* Gradients of a state's arguments (4 d) and, directly, of the state, from that of the next; and in
   `change`, to be added up, that of what was kept. */
static void gru_back(const float *restrict x, long d, float kept, const float *restrict old,
                     const float *restrict grad, float *restrict d_x, float *restrict direct,
                     float *restrict change)
{
    for (long a = 0; a < d; a++) {
        float r = sigmoid(x[a]), z = sigmoid(x[d + a]), h = x[3 * d + a];
        float n = tanh_(x[2 * d + a] + r * h), above = old[a] - n;
        float d_new = (1 - kept) * grad[a], d_n = d_new * (1 - z) * (1 - n * n);
        d_x[a] = d_n * h * r * (1 - r);
        d_x[d + a] = d_new * above * z * (1 - z);
        d_x[2 * d + a] = d_n;
        d_x[3 * d + a] = d_n * r;
        direct[a] = kept * grad[a] + d_new * z;
        change[a] = grad[a] * above * (1 - z);
    }
}

static void lstm_back(const float *restrict x, long d, float kept, const float *restrict old,
                      const float *restrict grad, float *restrict d_x, float *restrict direct,
                      float *restrict change)
{
    for (long a = 0; a < d; a++) {
        float i = sigmoid(x[a]), f = sigmoid(x[d + a]), o = sigmoid(x[3 * d + a]);
        float g = tanh_(x[2 * d + a]), cell = f * old[d + a] + i * g, shown = tanh_(cell);
        float d_shown = (1 - kept) * grad[a];
        float d_cell = (1 - kept) * grad[d + a] + d_shown * o * (1 - shown * shown);
        d_x[a] = d_cell * g * i * (1 - i);
        d_x[d + a] = d_cell * old[d + a] * f * (1 - f);
        d_x[2 * d + a] = d_cell * i * (1 - g * g);
        d_x[3 * d + a] = d_shown * shown * o * (1 - o);
        direct[a] = kept * grad[a];
        direct[d + a] = kept * grad[d + a] + d_cell * f;
        change[a] = grad[a] * (old[a] - o * shown);
        change[d + a] = grad[d + a] * (old[d + a] - cell);
    }
}

/* One head of a chunk, backwards: from the gradients of what it told and heard (in `told`) and of
   its mass to those of its queries, keys and values, of tokens and of states. */
static void head_back(const Nsm *w, const Scratch *t, long i, const float *tokens, float *d_tokens,
                      float *d_own, float *d_importance)
{
    long d = w->d, s = w->s, c = w->c, h = d / w->n_heads, wide = padded(s), rows = c + s;
    const float *weights = t->weights + i * rows * wide, *shares = t->shares + i * rows * wide;
    const float *mass = t->mass + i * s, *message = t->inputs + i * h, *own = t->own + i * h;
    const float *query = tokens + i * h, *value = tokens + d + i * h;
    const float *d_heard = t->told + d + i * h;
    float *panel = t->panel, *other = t->panel + (d > rows ? d : rows) * wide;
    for (long r = 0; r < s; r++) {
        float least = mass[r] < LEAST_MASS ? LEAST_MASS : mass[r];
        float *sent = t->d_sent + r * h;
        for (long a = 0; a < h; a++) sent[a] = t->told[r * 3 * d + i * h + a] / least;
        t->d_mass[r] = mass[r] > LEAST_MASS ? -dot(sent, message + r * 3 * d, h) : 0.0f;
        t->d_mass[r] += t->kept[r];
    }
    /* of the weights: what was sent, and what was heard */
    pack(t->d_sent, 1, h, h, s, panel);
    product(c, h, s, value, 2 * d, 1, panel, t->d_mass, t->d_weights, wide);
    pack(own + 2 * d, 1, 3 * d, h, s, panel);
    product(s, h, s, d_heard, 3 * d, 1, panel, NULL, t->d_weights + c * wide, wide);
    /* of the values */
    pack(t->d_sent, h, 1, s, h, other);
    product(c, s, h, weights, wide, 1, other, NULL, d_tokens + d + i * h, 2 * d);
    pack(d_heard, 3 * d, 1, s, h, other);
    product(s, s, h, weights + c * wide, 1, wide, other, NULL, d_own + 2 * d + i * h, 3 * d);
    /* of the scores, in place of the weights' */
    for (long a = 0; a < rows; a++) {
        float *x = t->d_weights + a * wide, mean = dot(x, weights + a * wide, s);
        for (long r = 0; r < s; r++) {
            x[r] -= mean;
            d_importance[r] += x[r] * shares[a * wide + r];
            x[r] *= weights[a * wide + r];
        }
    }
    /* of queries and keys */
    pack(own + d, 3 * d, 1, s, h, other);
    product(c, s, h, t->d_weights, wide, 1, other, NULL, d_tokens + i * h, 2 * d);
    product(s, s, h, t->d_weights + c * wide, wide, 1, other, NULL, d_own + i * h, 3 * d);
    pack(query, 2 * d, 1, c, h, other);
    product(s, c, h, t->d_weights, 1, wide, other, NULL, d_own + d + i * h, 3 * d);
    pack(own, 3 * d, 1, s, h, other);
    product(s, s, h, t->d_weights + c * wide, 1, wide, other, NULL, t->d_sent, h);
    for (long r = 0; r < s; r++)
        for (long a = 0; a < h; a++) d_own[r * 3 * d + d + i * h + a] += t->d_sent[r * h + a];
}

int nsm_retreat(const Nsm *w, long first, long end)
{
    Scratch t;
    long d = w->d, s = w->s, n = 4 * d, width = w->gru ? d : 2 * d;
    long step = w->n_batch * s * width;
    t.all = malloc(lay_out(w, &t, NULL, 1) * sizeof(float));
    if (!t.all) return 1;
    lay_out(w, &t, t.all, 1);
    t.maps = pack_matrix(w->maps, 1, d, d, 3 * d, t.places[0]);
    t.gate = pack_matrix(w->gate, 1, 3 * d, 3 * d, n, t.places[1]);
    t.gate_back = pack_matrix(w->gate, 3 * d, 1, n, 3 * d, t.places[2]);
    t.maps_back = pack_matrix(w->maps, d, 1, 3 * d, d, t.places[3]);
    for (long b = first; b < end; b++)
        for (long j = w->k - 1; j >= 0; j--) {
            long at = (j * w->n_batch + b) * s, token = (b * w->k + j) * w->c * 2 * d;
            const float *now = w->states + j * step + b * s * width;
            float *carried = w->carried + b * s * width, *d_gate = w->d_gate + at * n;
            float *d_own = w->d_own + at * 3 * d;
            chunk(w, &t, w->tokens + token, now, width, 1);
            times(s, t.inputs, 3 * d, &t.gate, w->gate_bias, t.arguments, n);
            memcpy(w->normed + at * d, t.normed, s * d * sizeof(float));
            memcpy(w->seen + at * 3 * d, t.inputs, s * 3 * d * sizeof(float));
            for (long r = 0; r < s; r++) {
                (w->gru ? gru_back : lstm_back)(
                    t.arguments + r * n, d, t.kept[r], now + r * width, carried + r * width,
                    d_gate + r * n, t.direct + r * width, t.change);
                /* from here on, the gradient of the mass through it */
                t.kept[r] *= -total(t.change, width) / w->n_heads;
            }
            times(s, d_gate, n, &t.gate_back, NULL, t.told, 3 * d);
            for (long i = 0; i < w->n_heads; i++)
                head_back(w, &t, i, w->tokens + token, w->d_tokens + token, d_own,
                          w->d_importance + b * s);
            times(s, d_own, 3 * d, &t.maps_back, NULL, t.d_normed, d);
            const float *grad = w->grad + j * step + b * s * width;
            for (long r = 0; r < s; r++) {
                float *x = t.d_normed + r * d, *scaled = t.scaled + r * d;
                for (long a = 0; a < d; a++) {
                    w->d_norm[b * d + a] += x[a] * scaled[a];
                    w->d_norm_bias[b * d + a] += x[a];
                    x[a] *= w->norm[a];
                }
                float mean = total(x, d) / d, along = dot(x, scaled, d) / d;
                float *to = carried + r * width;
                for (long a = 0; a < width; a++) to[a] = t.direct[r * width + a] + grad[r * width + a];
                for (long a = 0; a < d; a++)
                    to[a] += t.told[r * 3 * d + 2 * d + a]
                             + t.scale[r] * (x[a] - mean - along * scaled[a]);
            }
        }
    free(t.all);
    return 0;
}
