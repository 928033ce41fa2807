/* The gates of an NSM's states, and their gradients. */

#include "common.h"

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
