/* What the benchmarks compare with: the same loops by hand, one thread. D, M and REAL are set when this is compiled. */
#include <math.h>
#include <stdint.h>

#ifdef SINGLE
#define LOG logf
#define EXP expf
#define RINT rintf
#define FABS fabsf
#define COPYSIGN copysignf
#else
#define LOG log
#define EXP exp
#define RINT rint
#define FABS fabs
#define COPYSIGN copysign
#endif

/* A row of what a node tells: params, tracker, price, and zeros up to whole vectors. */
#define ROW ((2 * D + 1 + 7) / 8 * 8)

/* STREAM triad. */
void triad(int64_t n, const REAL *restrict a, const REAL *restrict b, REAL *restrict c, int64_t times) {
    for (int64_t t = 0; t < times; t++)
        for (int64_t i = 0; i < n; i++) c[i] = a[i] + (REAL)(t + 1) * b[i];
}

/* out_i = sum_j w_ij (heard_j - heard_i), then the two buffers change places. */
void flows(int64_t n, const int32_t *restrict first, const int32_t *restrict other, const REAL *restrict weight,
           REAL *buffer_a, REAL *buffer_b, int64_t times) {
    for (int64_t t = 0; t < times; t++) {
        const REAL *restrict heard = t % 2 ? buffer_b : buffer_a;
        REAL *restrict out = t % 2 ? buffer_a : buffer_b;
        for (int64_t i = 0; i < n; i++) {
            REAL total[D] = {0};
            const REAL *own = heard + i * D;
            for (int32_t e = first[i]; e < first[i + 1]; e++) {
                const REAL w = weight[e], *row = heard + (int64_t)other[e] * D;
                for (int c = 0; c < D; c++) total[c] += w * (row[c] - own[c]);
            }
            for (int c = 0; c < D; c++) out[i * D + c] = own[c] + total[c];
        }
    }
}

static inline void tell(const REAL *restrict params, const REAL *restrict tracker, REAL price, REAL rho,
                        REAL *restrict row) {
    REAL said[ROW] = {0};
    for (int c = 0; c < D; c++) said[c] = params[c], said[D + c] = tracker[c];
    said[2 * D] = price;
    for (int c = 0; c < ROW; c++) {
        const REAL size = FABS(said[c]), safe = size > 0 ? size : 1;
        const REAL rounded = EXP(rho * RINT(LOG(safe) / rho));
        row[c] = size > 0 ? COPYSIGN(rounded, said[c]) : 0;
    }
}

static inline void gradient(const REAL *restrict features, const REAL *restrict targets, const REAL *restrict params,
                            REAL *restrict grad) {
    for (int c = 0; c < D; c++) grad[c] = 0;
    for (int s = 0; s < M; s++) {
        REAL residual = -targets[s];
        for (int c = 0; c < D; c++) residual += features[s * D + c] * params[c];
        residual *= (REAL)2 / M;
        for (int c = 0; c < D; c++) grad[c] += residual * features[s * D + c];
    }
}

/* DIGing and Laplacian over log-quantized links: every node is read and written once a step. */
void steps(int64_t n, const int32_t *restrict first, const int32_t *restrict other, const REAL *restrict weight,
           const REAL *restrict features, const REAL *restrict targets, const REAL *restrict price,
           REAL *restrict params, REAL *restrict tracker, REAL *restrict grad, REAL *restrict shares,
           REAL *heard_a, REAL *heard_b, double step_size, double share_step, double step_of_levels, int64_t times) {
    const REAL alpha = step_size, eta = share_step, rho = step_of_levels;
    for (int64_t i = 0; i < n; i++) {
        gradient(features + i * M * D, targets + i * M, params + i * D, grad + i * D);
        for (int c = 0; c < D; c++) tracker[i * D + c] = grad[i * D + c];
        tell(params + i * D, tracker + i * D, 2 * price[i] * shares[i], rho, heard_a + i * ROW);
    }
    for (int64_t t = 0; t < times; t++) {
        const REAL *restrict heard = t % 2 ? heard_b : heard_a;
        REAL *restrict next = t % 2 ? heard_a : heard_b;
        for (int64_t i = 0; i < n; i++) {
            REAL flow[ROW] = {0}, fresh[D];
            const REAL *own = heard + i * ROW;
            for (int32_t e = first[i]; e < first[i + 1]; e++) {
                const REAL w = weight[e], *row = heard + (int64_t)other[e] * ROW;
                for (int c = 0; c < ROW; c++) flow[c] += w * (row[c] - own[c]);
            }
            REAL *x = params + i * D, *y = tracker + i * D, *g = grad + i * D;
            for (int c = 0; c < D; c++) x[c] += flow[c] - alpha * y[c];
            shares[i] += eta * flow[2 * D];
            gradient(features + i * M * D, targets + i * M, x, fresh);
            for (int c = 0; c < D; c++) y[c] += flow[D + c] + fresh[c] - g[c], g[c] = fresh[c];
            tell(x, y, 2 * price[i] * shares[i], rho, next + i * ROW);
        }
    }
}

/* Gradient tracking (DIGing) on logistic regression with a ridge, values sent as they are: the job of peers.py. From
   zeros everywhere the first pass only takes the first gradient. */
void logistic(int64_t n, const int32_t *restrict first, const int32_t *restrict other, const REAL *restrict weight,
              const REAL *restrict features, const REAL *restrict labels, REAL *restrict params,
              REAL *restrict tracker, REAL *restrict grad, REAL *restrict spare, double step_size, double ridge,
              int64_t times) {
    const REAL alpha = step_size, mu = ridge;
    REAL *next_params = spare, *next_tracker = spare + n * D;
    for (int64_t t = 0; t < times; t++) {
        for (int64_t i = 0; i < n; i++) {
            REAL x[D], y[D], g[D];
            for (int c = 0; c < D; c++) x[c] = params[i * D + c] - alpha * tracker[i * D + c], y[c] = tracker[i * D + c];
            for (int32_t e = first[i]; e < first[i + 1]; e++) {
                const REAL w = weight[e];
                const int64_t j = other[e];
                for (int c = 0; c < D; c++) x[c] += w * (params[j * D + c] - params[i * D + c]);
                for (int c = 0; c < D; c++) y[c] += w * (tracker[j * D + c] - tracker[i * D + c]);
            }
            for (int c = 0; c < D; c++) g[c] = mu * x[c];
            for (int s = 0; s < M; s++) {
                const REAL *row = features + (i * M + s) * D, label = labels[i * M + s];
                REAL score = 0;
                for (int c = 0; c < D; c++) score += row[c] * x[c];
                const REAL pull = -label / (1 + EXP(label * score)) / M;
                for (int c = 0; c < D; c++) g[c] += pull * row[c];
            }
            for (int c = 0; c < D; c++) next_tracker[i * D + c] = y[c] + g[c] - grad[i * D + c], grad[i * D + c] = g[c];
            for (int c = 0; c < D; c++) next_params[i * D + c] = x[c];
        }
        for (int64_t c = 0; c < n * D; c++) params[c] = next_params[c], tracker[c] = next_tracker[c];
    }
}
