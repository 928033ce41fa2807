/* The states of an NSM over time, what tokens read of them, and the gradients: block by block of
   chunks, on several threads (`blocks.h`). */

#include "nsm_chunk.h"
#include "blocks.h"

static Blocks blocks_of(const Nsm *w)
{
    long n = (w->k + w->block - 1) / w->block;
    return (Blocks){.n_batch = w->n_batch, .n_blocks = n, .ahead = n, .what = w,
                    .shared = w->shared, .alone = w->threads == 1};
}

static long least(long a, long b) { return a < b ? a : b; }

/* ---- forwards: block i is the chunks from i times its size on ---- */

static void map_block(const void *what, void *room, long b, long i)
{
    const Nsm *w = what;
    int read_before = !i && w->found && w->first;
    for (long j = read_before ? -1 : i * w->block; j < least((i + 1) * w->block, w->k); j++)
        map_tokens(w, room, b, j, tokens_of(w, b, j));
}

static void advance_block(const void *what, void *room, long b, long i)
{
    const Nsm *w = what;
    const Scratch *t = room;
    long d = w->d, s = w->s, width = width_of(w), step = w->n_batch * s * width;
    for (long j = i * w->block; j < least((i + 1) * w->block, w->k); j++) {
        float *now = w->states + j * step + b * s * width;
        Chunk to = t->here;
        if (w->found) to.own = w->own + (b * w->k + j) * s * 3 * d;
        chunk(w, t, tokens_of(w, b, j), now, &to, w->hears);
        for (long r = 0; r < s; r++)
            (w->gru ? gru : lstm)(to.arguments + r * 4 * d, d, to.kept[r], now + r * width,
                                  now + step + r * width);
    }
}

static void read_block(const void *what, void *room, long b, long i)
{
    const Nsm *w = what;
    for (long j = i * w->block; j < least((i + 1) * w->block, w->k); j++) {
        const float *tokens = tokens_of(w, b, j), *before = tokens_of(w, b, j - 1);
        Scratch *t = room;
        look(w, t, w->own + (b * w->k + j) * w->s * 3 * w->d, j + w->first ? before : NULL, tokens);
        read_seen(&t->seen, tokens, 4 * w->d, w->found + at_tokens(w, b, j));
    }
}

int nsm_advance(const Nsm *w, long first, long end)
{
    (void)first, (void)end; /* threads share the work as they go */
    Scratch t;
    if (!begin(w, &t, 0)) return 1;
    Blocks blocks = blocks_of(w);
    blocks.prepare = map_block;
    blocks.lead = advance_block;
    blocks.finish = w->found ? read_block : NULL;
    go_through(&blocks, &t);
    free(t.all);
    return 0;
}

/* ---- backwards: block i is the chunks up to the last but i times its size ---- */

static float *d_tokens_of(const Nsm *w, long b, long j)
{
    return w->d_tokens + (b * w->k + j) * w->c * w->m * w->d;
}

/* Of keys and values (c, 2 d) of the last chunk of block i, by the tokens of the block before. */
static float *later(const Nsm *w, long b, long i)
{
    long n_blocks = (w->k + w->block - 1) / w->block;
    return w->d_later + (b * (n_blocks + 1) + i) * w->c * 2 * w->d;
}

/* The gradient of what the tokens of a chunk of block i read, `before` being the maps of those of
   the chunk before it. */
static void read_chunk_back(const Nsm *w, Scratch *t, long b, long i, long j, const float *own,
                            const float *before)
{
    long d = w->d, s = w->s, c = w->c, near = s + (before ? c : 0), at = place_of(w, b, j);
    float *d_tokens = d_tokens_of(w, b, j), *d_importance = w->d_read_importance + at * s;
    const float *tokens = tokens_of(w, b, j), *d_found = w->d_found + at_tokens(w, b, j);
    memset(d_importance, 0, s * sizeof(float));
    look(w, t, own, before, tokens);
    read_back(w, t, tokens, d_found, d_tokens, d_importance);
    side_by_side(s, d, t->d_key, t->d_value, w->d_read + at * s * 2 * d, 2 * d, 0);
    side_by_side(c, d, t->d_key + near * d, t->d_value + near * d, d_tokens + 2 * d, 4 * d, 0);
    if (!before) return;
    int within = before == tokens_of(w, b, j - 1);
    side_by_side(c, d, t->d_key + s * d, t->d_value + s * d,
                 within ? d_tokens_of(w, b, j - 1) + 2 * d : later(w, b, i + 1),
                 within ? 4 * d : 2 * d, within);
}

/* All that needs no gradient of later states. */
static void prepare_block(const void *what, void *room, long b, long i)
{
    const Nsm *w = what;
    Scratch *t = room;
    long size = w->c * w->m * w->d, stop = w->k - i * w->block;
    long start = stop > w->block ? stop - w->block : 0;
    for (long j = start; j < stop; j++)
        if (t->mapped == tokens_of(w, b, j))
            memcpy(tokens_of(w, b, j), t->before, size * sizeof(float));
        else
            map_tokens(w, t, b, j, tokens_of(w, b, j));
    for (long j = start; j < stop; j++) {
        const float *before = j > start ? tokens_of(w, b, j - 1) : NULL;
        const float *now = w->states + (j * w->n_batch + b) * w->s * width_of(w);
        Chunk to = lasting(w, b, j);
        chunk(w, t, tokens_of(w, b, j), now, &to, 1);
        if (!w->d_found) continue;
        if (j == start && j + w->first) { /* for the block after this one to write down */
            map_tokens(w, t, b, j - 1, t->before);
            t->mapped = tokens_of(w, b, j - 1);
            before = t->before;
        }
        read_chunk_back(w, t, b, i, j, to.own, before);
    }
}

/* A chunk's gradients, from those of the states after it in `carried` to those before it. */
static void retreat(const Nsm *w, const Scratch *t, long b, long j)
{
    long d = w->d, s = w->s, c = w->c, width = width_of(w), row = w->m * d;
    long at = (j * w->n_batch + b) * s, place = place_of(w, b, j);
    const float *now = w->states + at * width, *tokens = tokens_of(w, b, j);
    float *carried = w->carried + b * s * width, *d_gate = w->d_gate + at * 4 * d;
    float *d_own = w->d_own + at * 3 * d, *d_tokens = d_tokens_of(w, b, j);
    float *d_importance = w->d_importance + b * s;
    Chunk of = lasting(w, b, j);
    for (long r = 0; r < s; r++) {
        (w->gru ? gru_back : lstm_back)(of.arguments + r * 4 * d, d, of.kept[r], now + r * width,
                                        carried + r * width, d_gate + r * 4 * d,
                                        t->direct + r * width, t->change);
        /* from here on, the gradient of the mass through it */
        of.kept[r] *= -total(t->change, width) / w->n_heads;
    }
    times(s, d_gate, 4 * d, &t->gate_back, NULL, t->told, 3 * d);
    for (long i = 0; i < w->n_heads; i++)
        head_back(w, t, &of, i, tokens, d_tokens, d_own, d_importance);
    add_rows(c, d, t->d_value, d, d_tokens + row - d, row, w->d_found != NULL);
    if (w->d_found) {
        add_rows(s, 2 * d, w->d_read + place * s * 2 * d, 2 * d, d_own + d, 3 * d, 1);
        sum_rows(1, s, w->d_read_importance + place * s, d_importance);
    }
    sum_rows(c, row, d_tokens, w->d_token_bias + b * row);
    sum_rows(s, 3 * d, d_own, w->d_maps_bias + b * 3 * d);
    sum_rows(s, 4 * d, d_gate, w->d_gate_bias + b * 4 * d);
    times(s, d_own, 3 * d, &t->maps_back, NULL, t->d_normed, d);
    for (long r = 0; r < s; r++) {
        float *to = carried + r * width;
        memcpy(to, t->direct + r * width, width * sizeof(float));
        for (long a = 0; a < d; a++) to[a] += t->told[r * 3 * d + 2 * d + a];
        layer_norm_back(d, t->d_normed + r * d, of.scaled + r * d, of.scale[r], w->norm,
                        w->d_norm + b * d, w->d_norm_bias + b * d, to);
    }
    if (w->grad) add_rows(s, width, w->grad + at * width, width, carried, width, 1);
}

static void retreat_block(const void *what, void *room, long b, long i)
{
    const Nsm *w = what;
    long d = w->d, stop = w->k - i * w->block, start = stop > w->block ? stop - w->block : 0;
    if (w->d_found)
        add_rows(w->c, 2 * d, later(w, b, i), 2 * d, d_tokens_of(w, b, stop - 1) + 2 * d, 4 * d, 1);
    for (long j = stop - 1; j >= start; j--) retreat(w, room, b, j);
}

int nsm_retreat(const Nsm *w, long first, long end)
{
    (void)first, (void)end;
    Scratch t;
    if (!begin(w, &t, 1)) return 1;
    Blocks blocks = blocks_of(w);
    blocks.ahead = w->ahead;
    blocks.prepare = prepare_block;
    blocks.lead = retreat_block;
    go_through(&blocks, &t);
    free(t.all);
    return 0;
}
