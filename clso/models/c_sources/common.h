/* What the recurrences of clso.models share: functions of one number, products of small matrices.

   Plain C with GCC's and Clang's vectors of 8 floats. Sequences of a batch are independent: a call
   goes through those from `first` up to `end`. All matrices are rows of floats without gaps, unless a
   stride is given. A call returns 0, or 1 if there is no memory. */

#pragma once
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
#define PANEL 16 /* columns that a product holds in registers, */
#define ROWS 6   /* for so many rows at most, or a few less: as many in each go */
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline, unused)) /* or each call would be compiled anew */

static inline long padded(long n) { return (n + PANEL - 1) / PANEL * PANEL; }

/* ---- functions of one number, branchless, so that loops of them become vectors ---- */

INLINE float exp_(float x) /* Cephes' expf */
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = x * 1.44269504f + 12582912.0f; /* rounds */
    n -= 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } power = {((int32_t)n + 127) << 23};
    return p * power.f;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_(-x)); }

INLINE float tanh_(float x) /* Cephes' tanhf */
{
    float size = x < 0.0f ? -x : x, z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near = p * z * x + x, far = 1.0f - 2.0f / (exp_(2.0f * size) + 1.0f);
    far = x < 0.0f ? -far : far;
    return size < 0.625f ? near : far;
}

APART float total(const float *x, long n)
{
    v8 sums = {0};
    long i = 0;
    float sum = 0;
    for (; i + 8 <= n; i += 8) sums += *(const v8 *)(x + i);
    for (; i < n; i++) sum += x[i];
    for (i = 0; i < 8; i++) sum += sums[i];
    return sum;
}

APART float dot(const float *x, const float *y, long n)
{
    v8 sums = {0};
    long i = 0;
    float sum = 0;
    for (; i + 8 <= n; i += 8) sums += *(const v8 *)(x + i) * *(const v8 *)(y + i);
    for (; i < n; i++) sum += x[i] * y[i];
    for (i = 0; i < 8; i++) sum += sums[i];
    return sum;
}

/* The largest of the numbers whose weight is positive. */
APART float highest(const float *x, const float *weights, long n)
{
    typedef int32_t i8 __attribute__((vector_size(32)));
    float peak = -FLT_MAX;
    long i = 0;
    v8 peaks = {0};
    peaks += peak;
    for (; i + 8 <= n; i += 8) {
        v8 here = *(const v8 *)(x + i);
        i8 above = (*(const v8 *)(weights + i) > 0) & (here > peaks);
        peaks = (v8)(((i8)here & above) | ((i8)peaks & ~above));
    }
    for (; i < n; i++)
        if (weights[i] > 0 && x[i] > peak) peak = x[i];
    for (i = 0; i < 8; i++) peak = peaks[i] > peak ? peaks[i] : peak;
    return peak;
}

/* ---- products ---- */

/* A matrix (k, n), element (p, j) at right[p * row + j * column], as panels of columns. */
APART void pack(const float *right, long row, long column, long k, long n, float *out)
{
    for (long j = 0; j < n; j += PANEL) {
        long m = n - j < PANEL ? n - j : PANEL;
        for (long p = 0; p < k; p++, out += PANEL) {
            const float *from = right + p * row + j * column;
            if (m == PANEL && column == 1) {
                memcpy(out, from, PANEL * sizeof(float));
                continue;
            }
            for (long i = 0; i < PANEL; i++) out[i] = i < m ? from[i * column] : 0.0f;
        }
    }
}

/* `index`: which of the left's columns the panel's rows are for; NULL: all of them. */
INLINE void rows_by_panel(int m, long k, const float *left, long row, long column,
                          const float *panel, const int32_t *index, const float *bias, float *out,
                          long out_row, long n)
{
    v8 sums[ROWS][2];
    for (int i = 0; i < m; i++) {
        sums[i][0] = ((const v8 *)bias)[0];
        sums[i][1] = ((const v8 *)bias)[1];
    }
    for (long p = 0; p < k; p++, panel += PANEL) {
        v8 a = ((const v8 *)panel)[0], b = ((const v8 *)panel)[1];
        const float *from = left + (index ? index[p] : p) * column;
        for (int i = 0; i < m; i++) {
            float x = from[i * row];
            sums[i][0] += x * a;
            sums[i][1] += x * b;
        }
    }
    for (int i = 0; i < m; i++)
        if (n >= PANEL) {
            ((v8 *)(out + i * out_row))[0] = sums[i][0];
            ((v8 *)(out + i * out_row))[1] = sums[i][1];
        } else
            memcpy(out + i * out_row, sums[i], n * sizeof(float));
}

INLINE void all_by_panel(long m, long k, const float *left, long row, long column,
                         const float *panel, const int32_t *index, const float *bias, float *out,
                         long out_row, long n)
{
    while (m > 0) {
        long left_over = (m + ROWS - 1) / ROWS, here = (m + left_over - 1) / left_over;
        switch (here) { /* a number that is known stays in registers */
#define CASE(i) \
    case i: rows_by_panel(i, k, left, row, column, panel, index, bias, out, out_row, n); break;
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
        }
        m -= here, left += here * row, out += here * out_row;
    }
}

/* out (m, n), rows `out_row` apart, = bias (n) or 0 + left (m, k) @ packed (k, n); element (i, p) of
   left is at left[i * row + p * column]. */
APART void product(long m, long k, long n, const float *left, long row, long column,
                    const float *packed, const float *bias, float *out, long out_row)
{
    for (long j = 0; j < n; j += PANEL, packed += k * PANEL) {
        float start[PANEL] = {0};
        long width = n - j < PANEL ? n - j : PANEL;
        if (bias) memcpy(start, bias + j, width * sizeof(float));
        all_by_panel(m, k, left, row, column, packed, NULL, start, out + j, out_row, width);
    }
}

/* A matrix in panels whose empty rows are left out: a grown NSM's are empty but for a few. */
typedef struct {
    long k, n;
    float *numbers;
    int32_t *index, *count; /* by panel */
} Packed;

static inline long packed_size(long k, long n) { return padded(n) * k + padded(n) / PANEL * (k + 1); }

APART Packed pack_matrix(const float *right, long row, long column, long k, long n, float *place)
{
    long panels = padded(n) / PANEL;
    Packed out = {k, n, place, (int32_t *)(place + padded(n) * k), NULL};
    out.count = out.index + panels * k;
    for (long j = 0; j < panels; j++) {
        float *to = place + j * k * PANEL;
        int32_t *index = out.index + j * k;
        long width = n - j * PANEL < PANEL ? n - j * PANEL : PANEL;
        for (long p = 0; p < k; p++) {
            int empty = 1;
            for (long i = 0; i < PANEL; i++) {
                to[i] = i < width ? right[p * row + (j * PANEL + i) * column] : 0.0f;
                empty &= to[i] == 0.0f;
            }
            if (!empty) *index++ = (int32_t)p, to += PANEL;
        }
        out.count[j] = (int32_t)(index - out.index - j * k);
    }
    return out;
}

/* out (m, n), rows `out_row` apart, = bias (n) or 0 + left (m, k), rows `row` apart, @ matrix */
APART void times(long m, const float *left, long row, const Packed *matrix, const float *bias,
                  float *out, long out_row)
{
    long k = matrix->k, n = matrix->n;
    for (long j = 0; j * PANEL < n; j++) {
        float start[PANEL] = {0};
        long width = n - j * PANEL < PANEL ? n - j * PANEL : PANEL;
        if (bias) memcpy(start, bias + j * PANEL, width * sizeof(float));
        all_by_panel(m, matrix->count[j], left, row, 1, matrix->numbers + j * k * PANEL,
                     matrix->index + j * k, start, out + j * PANEL, out_row, width);
    }
}

/* A part of `n` numbers of one allocation, if there is one yet; returns where the next begins. */
static inline long take(float *base, float **part, long at, long n)
{
    if (base) *part = base + at;
    return at + padded(n);
}
