/* A chunk of an NSM: what it does to the states that it finds, what its tokens read, and the
   gradients. `clso.models.nsm_recurrence` has the words and the letters of shapes, and the same in
   plain torch. */

#include "nsm.h"
#include "nsm_gates.h"

typedef struct {
    long n_batch, k, c, s, d, n_heads, gru, hears, top_k;
    long m;              /* maps of tokens: 2, route queries and values, or, if tokens read, 4: read
                            queries, route queries, keys, values */
    long n_all, first;   /* a call is for K chunks, of so many, from the first on */
    long block, ahead;   /* chunks of a block; blocks that may wait for their gradients' lead */
    long threads;
    long *shared;        /* of them (blocks.h) */
    const float *x;      /* (B, all, c, d) */
    const float *token_maps, *token_bias; /* (m d, d), (m d) */
    const float *norm, *norm_bias;
    const float *maps, *maps_bias;     /* (3 d, d), (3 d): a state's query, key and value */
    const float *gate, *gate_bias;     /* (4 d, 3 d), (4 d): of [message heard shown] */
    const float *importance;           /* (S) */
    float *states;                     /* (K + 1, B, S, width); the first K are given backwards */
    float *tokens;                     /* (B, 1 + K, c, m d): room for what is mapped, of the chunk
                                          before, too */
    float *own;                        /* of states' maps: (B, K, S, 3 d) if tokens read, */
                                       /* (B, ahead block, S, 3 d) backwards, so are: */
    float *scaled, *scale, *arguments, *weights, *shares, *mass, *kept; /* d, 1, 4 d by state */
    float *d_read, *d_read_importance; /* of states' keys and values, by what was read: 2 d, 1 */
    float *found;                      /* as x: what tokens read, or NULL: they do not */
    /* backwards: */
    const float *grad;                 /* (K, B, S, width): of states before a chunk; or NULL */
    const float *d_found;              /* as x, or NULL */
    float *carried;                    /* (B, S, width): of the states after, then before all */
    float *d_tokens;                   /* (B, K, c, m d) */
    float *d_later;                    /* (B, blocks + 1, c, 2 d): of keys and values of a block's
                                          last chunk, by tokens after it; the first is given */
    float *d_gate, *seen, *d_own, *normed; /* (K, B, S, gates d), 3 d, 3 d, d */
    /* by sequence, added to: */
    float *d_token_bias, *d_norm, *d_norm_bias, *d_maps_bias, *d_gate_bias, *d_importance;
} Nsm;

#define LEAST_MASS 1e-6f

/* Of a chunk, from its states on. */
typedef struct {
    float *normed, *scaled, *scale, *own, *inputs, *arguments, *weights, *shares, *mass, *kept;
} Chunk;

typedef struct {
    Packed token_maps, maps, gate, gate_back, maps_back;
    float *all, *places[5], *panel;
    Chunk here; /* if it need not last */
    Seen seen;
    float *before;       /* maps of the tokens of a chunk before: (c, m d) */
    const float *mapped; /* where those of the same chunk belong */
    float *change, *told, *d_sent, *d_mass, *d_weights, *d_normed, *direct, *d_key, *d_value;
} Scratch;

static long width_of(const Nsm *w) { return w->gru ? w->d : 2 * w->d; }

/* Sizes if `base` is NULL, else also the parts' places. */
static long lay_out(const Nsm *w, Scratch *t, float *base, int back)
{
    long d = w->d, s = w->s, c = w->c, rows = s + c, near = s + 2 * c, at = 0;
    long wide = padded(s), widest = padded(near), most = d > near ? d : near;
    Chunk *here = &t->here;
    at = take(base, &t->places[0], at, packed_size(d, w->m * d));
    at = take(base, &t->places[1], at, packed_size(d, 3 * d));
    at = take(base, &t->places[2], at, packed_size(3 * d, 4 * d));
    at = take(base, &t->panel, at, most * (padded(d) + widest));
    at = take(base, &t->seen.keys, at, near * d);
    at = take(base, &t->seen.values, at, near * d);
    at = take(base, &t->seen.importance, at, widest);
    at = take(base, &t->seen.weights, at, c * widest);
    at = take(base, &t->seen.shares, at, c * widest);
    if (back) {
        at = take(base, &t->places[3], at, packed_size(4 * d, 3 * d));
        at = take(base, &t->places[4], at, packed_size(3 * d, d));
        at = take(base, &t->before, at, c * w->m * d);
        at = take(base, &t->change, at, 2 * d);
        at = take(base, &t->told, at, s * 3 * d);
        at = take(base, &t->d_sent, at, s * d);
        at = take(base, &t->d_mass, at, s);
        at = take(base, &t->d_weights, at, rows * widest);
        at = take(base, &t->d_normed, at, s * d);
        at = take(base, &t->direct, at, s * 2 * d);
        at = take(base, &t->d_key, at, near * d);
        at = take(base, &t->d_value, at, near * d);
        return at;
    }
    at = take(base, &here->normed, at, s * d);
    at = take(base, &here->scaled, at, s * d);
    at = take(base, &here->scale, at, s);
    at = take(base, &here->own, at, s * 3 * d);
    at = take(base, &here->inputs, at, s * 3 * d);
    at = take(base, &here->arguments, at, s * 4 * d);
    at = take(base, &here->weights, at, w->n_heads * rows * wide);
    at = take(base, &here->shares, at, w->n_heads * rows * wide);
    at = take(base, &here->mass, at, w->n_heads * s);
    at = take(base, &here->kept, at, s);
    return at;
}

/* Room to work in, if there is memory for it, and the matrices in panels. */
static int begin(const Nsm *w, Scratch *t, int back)
{
    long d = w->d;
    t->all = malloc(lay_out(w, t, NULL, back) * sizeof(float));
    if (!t->all) return 0;
    lay_out(w, t, t->all, back);
    t->token_maps = pack_matrix(w->token_maps, 1, d, d, w->m * d, t->places[0]);
    t->maps = pack_matrix(w->maps, 1, d, d, 3 * d, t->places[1]);
    t->gate = pack_matrix(w->gate, 1, 3 * d, 3 * d, 4 * d, t->places[2]);
    if (back) {
        t->gate_back = pack_matrix(w->gate, 3 * d, 1, 4 * d, 3 * d, t->places[3]);
        t->maps_back = pack_matrix(w->maps, d, 1, 3 * d, d, t->places[4]);
    }
    t->mapped = NULL;
    t->seen.c = w->c;
    t->seen.d = d;
    t->seen.n_heads = w->n_heads;
    t->seen.panel = t->panel;
    return 1;
}

static long place_of(const Nsm *w, long b, long j)
{
    long n = w->ahead * w->block;
    return b * n + j % n;
}

/* Of a chunk whose gradient is to come. */
static Chunk lasting(const Nsm *w, long b, long j)
{
    long d = w->d, s = w->s, heads = w->n_heads, at = place_of(w, b, j);
    long all = heads * (w->c + s) * padded(s), now = (j * w->n_batch + b) * s;
    return (Chunk){w->normed + now * d, w->scaled + at * s * d, w->scale + at * s,
                   w->own + at * s * 3 * d, w->seen + now * 3 * d, w->arguments + at * s * 4 * d,
                   w->weights + at * all, w->shares + at * all, w->mass + at * heads * s,
                   w->kept + at * s};
}

/* Place of the maps of a chunk's tokens. */
static float *tokens_of(const Nsm *w, long b, long j)
{
    return w->tokens + (b * (1 + w->k) + 1 + j) * w->c * w->m * w->d;
}

/* Of a chunk's tokens in x. */
static long at_tokens(const Nsm *w, long b, long j)
{
    return (b * w->n_all + w->first + j) * w->c * w->d;
}

static void map_tokens(const Nsm *w, const Scratch *t, long b, long j, float *out)
{
    times(w->c, w->x + at_tokens(w, b, j), w->d, &t->token_maps, w->token_bias, out, w->m * w->d);
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

/* All that a chunk does to the states that it finds, up to the arguments of the gate.
   Of two maps of tokens the first are route queries, of four the second. */
static void chunk(const Nsm *w, const Scratch *t, const float *tokens, const float *state,
                  const Chunk *to, int hears)
{
    long d = w->d, s = w->s, c = w->c, h = d / w->n_heads, wide = padded(s);
    long asking = hears ? c + s : c, row = w->m * d, width = width_of(w);
    layer_norm(s, d, state, width, w->norm, w->norm_bias, to->scaled, to->scale, to->normed);
    times(s, to->normed, d, &t->maps, w->maps_bias, to->own, 3 * d);
    memset(to->kept, 0, s * sizeof(float));
    for (long i = 0; i < w->n_heads; i++) {
        float *weights = to->weights + i * (c + s) * wide, *mass = to->mass + i * s;
        float *shares = to->shares + i * (c + s) * wide;
        const float *query = tokens + row / 2 - d + i * h, *own = to->own + i * h;
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
        product(s, c, h, weights, 1, wide, t->panel, NULL, to->inputs + i * h, 3 * d);
        for (long r = 0; r < s; r++) {
            float inverse = 1.0f / (mass[r] < LEAST_MASS ? LEAST_MASS : mass[r]);
            for (long a = 0; a < h; a++) to->inputs[r * 3 * d + i * h + a] *= inverse;
            to->kept[r] += mass[r];
        }
        if (hears) {
            pack(own + 2 * d, 3 * d, 1, s, h, t->panel);
            product(s, s, h, weights + c * wide, wide, 1, t->panel, NULL,
                    to->inputs + d + i * h, 3 * d);
        }
    }
    for (long r = 0; r < s; r++) {
        if (!hears) memset(to->inputs + r * 3 * d + d, 0, d * sizeof(float));
        memcpy(to->inputs + r * 3 * d + 2 * d, state + r * width, d * sizeof(float));
        to->kept[r] = exp_(-to->kept[r] / w->n_heads);
    }
    times(s, to->inputs, 3 * d, &t->gate, w->gate_bias, to->arguments, 4 * d);
}

/* One head of a chunk, backwards: from the gradients of what it told and heard (in `told`) and of
   its mass to those of its queries, keys and values, of states and of tokens, the tokens' values in
   `t->d_value` (c, d). */
static void head_back(const Nsm *w, const Scratch *t, const Chunk *of, long i, const float *tokens,
                      float *d_tokens, float *d_own, float *d_importance)
{
    long d = w->d, s = w->s, c = w->c, h = d / w->n_heads, wide = padded(s), rows = c + s;
    long row = w->m * d, asked = row / 2 - d + i * h;
    const float *weights = of->weights + i * rows * wide, *shares = of->shares + i * rows * wide;
    const float *mass = of->mass + i * s, *message = of->inputs + i * h, *own = of->own + i * h;
    const float *query = tokens + asked, *value = tokens + row - d + i * h;
    const float *d_heard = t->told + d + i * h;
    float *panel = t->panel, *other = t->panel + (d > rows ? d : rows) * wide;
    for (long r = 0; r < s; r++) {
        float least = mass[r] < LEAST_MASS ? LEAST_MASS : mass[r];
        float *sent = t->d_sent + r * h;
        for (long a = 0; a < h; a++) sent[a] = t->told[r * 3 * d + i * h + a] / least;
        t->d_mass[r] = mass[r] > LEAST_MASS ? -dot(sent, message + r * 3 * d, h) : 0.0f;
        t->d_mass[r] += of->kept[r];
    }
    /* of the weights: what was sent, and what was heard */
    pack(t->d_sent, 1, h, h, s, panel);
    product(c, h, s, value, row, 1, panel, t->d_mass, t->d_weights, wide);
    pack(own + 2 * d, 1, 3 * d, h, s, panel);
    product(s, h, s, d_heard, 3 * d, 1, panel, NULL, t->d_weights + c * wide, wide);
    /* of the values */
    pack(t->d_sent, h, 1, s, h, other);
    product(c, s, h, weights, wide, 1, other, NULL, t->d_value + i * h, d);
    pack(d_heard, 3 * d, 1, s, h, other);
    product(s, s, h, weights + c * wide, 1, wide, other, NULL, d_own + 2 * d + i * h, 3 * d);
    /* of the scores, in place of the weights' */
    for (long a = 0; a < rows; a++) {
        const float *weight = weights + a * wide;
        attend_back(s, s, weight, shares + a * wide, t->d_weights + a * wide, d_importance);
    }
    /* of queries and keys */
    pack(own + d, 3 * d, 1, s, h, other);
    product(c, s, h, t->d_weights, wide, 1, other, NULL, d_tokens + asked, row);
    product(s, s, h, t->d_weights + c * wide, wide, 1, other, NULL, d_own + i * h, 3 * d);
    pack(query, row, 1, c, h, other);
    product(s, c, h, t->d_weights, 1, wide, other, NULL, d_own + d + i * h, 3 * d);
    pack(own, 3 * d, 1, s, h, other);
    product(s, s, h, t->d_weights + c * wide, 1, wide, other, NULL, t->d_sent, h);
    for (long r = 0; r < s; r++)
        for (long a = 0; a < h; a++) d_own[r * 3 * d + d + i * h + a] += t->d_sent[r * h + a];
}

/* All that the tokens of a chunk may read: the states that it found (`own`, their maps), and near
   tokens, those of the chunk before it, if there is one, and their own. */
static void look(const Nsm *w, Scratch *t, const float *own, const float *before,
                 const float *tokens)
{
    long d = w->d;
    t->seen.n = 0;
    see(&t->seen, own + d, 3 * d, w->s, w->importance);
    if (before) see(&t->seen, before + 2 * d, 4 * d, w->c, NULL);
    see(&t->seen, tokens + 2 * d, 4 * d, w->c, NULL);
}

/* Rows (n, m) to, or added to, others. */
static void add_rows(long n, long m, const float *from, long from_row, float *to, long row, int add)
{
    for (long a = 0; a < n; a++, from += from_row, to += row)
        for (long i = 0; i < m; i++) to[i] = add ? to[i] + from[i] : from[i];
}

/* Rows (n, m) without gaps added up. */
static void sum_rows(long n, long m, const float *restrict from, float *restrict to)
{
    for (long a = 0; a < n; a++)
        for (long i = 0; i < m; i++) to[i] += from[a * m + i];
}

/* Rows of keys and of values, side by side. */
static void side_by_side(long n, long d, const float *keys, const float *values, float *to,
                         long row, int add)
{
    add_rows(n, d, keys, d, to, row, add);
    add_rows(n, d, values, d, to + d, row, add);
}

/* From the gradient of what a chunk's tokens read (c, d), having looked, to those of their read
   queries, in d_tokens (c, 4 d), of all keys, in `t->d_key` (n, d), and of values; that of
   importance is added. */
static void read_back(const Nsm *w, const Scratch *t, const float *query, const float *grad,
                      float *d_tokens, float *d_importance)
{
    const Seen *seen = &t->seen;
    long d = w->d, h = d / w->n_heads, n = seen->n, c = w->c, wide = padded(n);
    for (long i = 0; i < w->n_heads; i++) {
        weigh(seen, i, query, 4 * d, wide);
        pack(grad + i * h, d, 1, c, h, t->panel);
        product(n, c, h, seen->weights, 1, wide, t->panel, NULL, t->d_value + i * h, d);
        pack(seen->values + i * h, 1, d, h, n, t->panel);
        product(c, h, n, grad + i * h, d, 1, t->panel, NULL, t->d_weights, wide);
        for (long a = 0; a < c; a++)
            attend_back(n, w->s, seen->weights + a * wide, seen->shares + a * wide,
                        t->d_weights + a * wide, d_importance);
        pack(query + i * h, 4 * d, 1, c, h, t->panel);
        product(n, c, h, t->d_weights, 1, wide, t->panel, NULL, t->d_key + i * h, d);
        pack(seen->keys + i * h, d, 1, n, h, t->panel);
        product(c, n, h, t->d_weights, wide, 1, t->panel, NULL, d_tokens + i * h, 4 * d);
    }
}
