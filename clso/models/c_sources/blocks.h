/* Sequences, block by block, on several threads that share the work: one thread, its lead, goes
   through a sequence in order; what can be done to a block before and after that is done by whoever
   has time. Each block's results have places of their own, so that nothing depends on who did what,
   and one thread does it all if it is alone. */

#pragma once
#include <time.h>

typedef struct {
    long n_batch, n_blocks;
    long ahead; /* blocks that may be prepared before the lead comes to the first of them */
    int alone;  /* whether one thread does it all */
    const void *what;
    void (*prepare)(const void *what, void *room, long b, long i);
    void (*lead)(const void *what, void *room, long b, long i);
    void (*finish)(const void *what, void *room, long b, long i); /* or NULL */
    long *shared; /* zeros: n_batch (3 + n_blocks) + 1 */
} Blocks;

/* Of a sequence: blocks that were taken to be prepared, led, taken to be finished; by block whether
   it is prepared. */
enum { PREPARED, LED, FINISHED, READY };

static inline long *of_sequence(const Blocks *w, long b)
{
    return w->shared + 1 + b * (READY + w->n_blocks);
}

static inline long seen_now(const long *x) { return __atomic_load_n(x, __ATOMIC_ACQUIRE); }

/* Takes block `i` if nobody did; blocks are taken in order. */
static inline int taken(long *next, long i)
{
    return __atomic_compare_exchange_n(next, &i, i + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Whether there was a block to prepare. */
static int prepare(const Blocks *w, void *room, long b)
{
    long *now = of_sequence(w, b), i = seen_now(now + PREPARED);
    if (i >= w->n_blocks || i >= seen_now(now + LED) + w->ahead) return 0;
    if (taken(now + PREPARED, i)) {
        w->prepare(w->what, room, b, i);
        __atomic_store_n(now + READY + i, 1, __ATOMIC_RELEASE);
    }
    return 1;
}

/* Whether there was one to finish. */
static int finish(const Blocks *w, void *room, long b)
{
    long *now = of_sequence(w, b), i = seen_now(now + FINISHED);
    if (!w->finish || i >= seen_now(now + LED)) return 0;
    if (taken(now + FINISHED, i)) w->finish(w->what, room, b, i);
    return 1;
}

static int help(const Blocks *w, void *room, long b)
{
    return prepare(w, room, b) || finish(w, room, b);
}

static void pause_(void)
{
    struct timespec time = {0, 20000};
    nanosleep(&time, NULL);
}

/* What one thread does, with `room` of its own. */
static void go_through(const Blocks *w, void *room)
{
    for (long b; (b = __atomic_fetch_add(w->shared, 1, __ATOMIC_RELAXED)) < w->n_batch;) {
        long *now = of_sequence(w, b);
        for (long i = 0; i < w->n_blocks; i++) {
            while (!seen_now(now + READY + i))
                if (!help(w, room, b)) pause_();
            w->lead(w->what, room, b, i);
            __atomic_store_n(now + LED, i + 1, __ATOMIC_RELEASE);
            /* while it is in a cache, if nobody else has time */
            if (w->alone || seen_now(w->shared) < w->n_batch) finish(w, room, b);
        }
    }
    for (long b = 0; b < w->n_batch; b++) {
        const long *now = of_sequence(w, b);
        while (seen_now(now + PREPARED) < w->n_blocks
               || (w->finish && seen_now(now + FINISHED) < w->n_blocks))
            if (!help(w, room, b)) pause_();
    }
}
