/* Running log-sum-exps of rows: `clso.models.log_sum_exp` says what they are for. */

#include "common.h"

typedef struct {
    long n_batch, n_columns;
    const float *logits; /* (B, columns) */
    float *top, *total;  /* (B,): the largest so far, and the sum of exponentials under it */
} Rows;

#define LANES 16

int sum_exponentials(const Rows *w, long first, long end)
{
    long n = w->n_columns, whole = n / LANES * LANES;
    for (long q = first; q < end; q++) {
        const float *x = w->logits + q * n;
        float most[LANES], sum[LANES] = {0}, top = w->top[q];
        for (int j = 0; j < LANES; j++) most[j] = top;
        for (long i = 0; i < whole; i += LANES)
            for (int j = 0; j < LANES; j++) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
        for (long i = whole; i < n; i++) most[0] = x[i] > most[0] ? x[i] : most[0];
        for (int j = 0; j < LANES; j++) top = most[j] > top ? most[j] : top;
        for (long i = 0; i < whole; i += LANES)
            for (int j = 0; j < LANES; j++) sum[j] += exp_(x[i + j] - top);
        for (long i = whole; i < n; i++) sum[0] += exp_(x[i] - top);
        float total = w->total[q] * exp_(w->top[q] - top);
        for (int j = 0; j < LANES; j++) total += sum[j];
        w->top[q] = top;
        w->total[q] = total;
    }
    return 0;
}
