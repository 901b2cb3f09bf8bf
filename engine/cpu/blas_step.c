/* Convolutions and dense layers through OpenBLAS, for machines without a micro-kernel of ours.
 *
 * The threads share out blocks of output pixels. A thread gathers what a block reads into a matrix of its own (a 1x1 convolution with stride 1
 * has that matrix already: the tensor), multiplies it with the filter as the plan has it, and applies bias, residual, ReLU and the second output
 * while the block is in its cache. OpenBLAS itself stays on the calling thread. It rounds differently for matrices of different height, so that
 * blocks end where a picture does: a picture's products are the same calls whatever else is in the batch.
 */
#include <cblas.h>
#include <string.h>

#include "engine/cpu/cpu_executor.h"

/* Enough rows for OpenBLAS to reach its speed, few enough that the gathered matrix of a 3x3 with 512 channels stays below 2 MiB. */
enum { BLOCK_PIXELS = 96 };

typedef struct {
    const rn_executor *executor;
    rn_conv2d_args args;
    bool gather; /* copy windows into a matrix */
} blas_job;

/* Elements of one row of the gathered matrix. */
static int64_t window_elements(const rn_conv2d_args *a)
{
    return (int64_t)a->r * a->s * (a->c / a->groups);
}

static bool needs_gather(const rn_conv2d_args *a)
{
    return a->r != 1 || a->s != 1 || a->stride_h != 1 || a->stride_w != 1 || a->pad_top != 0 || a->pad_left != 0 || a->p != a->h || a->q != a->w;
}

/* Tensors have no gaps in this mode, so that pixels of all images are one sequence. */
static float *pixel_of(const rn_map *map, int64_t pixel)
{
    return (float *)map->data + pixel * map->pixel;
}

/* One row of the matrix: the window of output pixel `pixel`, channels of group `group`, zeros beyond the picture. */
static void gather_window(const rn_conv2d_args *a, int64_t pixel, int32_t group, float *to)
{
    const int32_t channels = a->c / a->groups;
    const int64_t image = pixel / ((int64_t)a->p * a->q);
    const int32_t rest = (int32_t)(pixel % ((int64_t)a->p * a->q));
    const int32_t h0 = rest / a->q * a->stride_h - a->pad_top, w0 = rest % a->q * a->stride_w - a->pad_left;
    for (int32_t h = h0; h < h0 + a->r; h++) {
        for (int32_t w = w0; w < w0 + a->s; w++, to += channels) {
            if (h < 0 || h >= a->h || w < 0 || w >= a->w) memset(to, 0, (size_t)channels * sizeof *to);
            else memcpy(to, rn_map_at(&a->x, image * a->x.image + h * a->x.row + w * a->x.pixel + group * channels), (size_t)channels * sizeof *to);
        }
    }
}

/* Bias, residual, ReLU and the second output of one pixel, whose plain sums are in `sums`. */
static void finish_pixel(const rn_conv2d_args *a, float *sums, int64_t pixel)
{
    const float *residual = a->residual.data ? pixel_of(&a->residual, pixel) : NULL;
    float *y2 = a->y2.data ? pixel_of(&a->y2, pixel) : NULL;
    for (int32_t k = 0; k < a->k; k++) {
        float y = sums[k];
        if (a->bias) y += a->bias[k];
        if (residual) y += residual[k];
        if (a->relu && y < 0) y = 0;
        sums[k] = y;
        if (!y2) continue;
        const float z = y * a->scale2[k] + a->shift2[k];
        y2[k] = z < 0 ? 0 : z;
    }
}

/* `count` output pixels, from pixel `pixel` of the batch on. */
static void run_block(const blas_job *job, int64_t pixel, int32_t count, float *matrix)
{
    const rn_conv2d_args *a = &job->args;
    const int32_t channels = a->c / a->groups, outputs = a->k / a->groups, window = (int32_t)window_elements(a);
    float *unstored = matrix + (job->gather ? (int64_t)BLOCK_PIXELS * window : 0); /* first output that nobody wants */
    float *y = a->y.data ? pixel_of(&a->y, pixel) : unstored;
    const int32_t y_pixel = a->y.data ? (int32_t)a->y.pixel : a->k;
    for (int32_t group = 0; group < a->groups; group++) {
        for (int32_t i = 0; job->gather && i < count; i++) gather_window(a, pixel + i, group, matrix + (int64_t)i * window);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, outputs, window, 1,
                    job->gather ? matrix : pixel_of(&a->x, pixel) + group * channels, job->gather ? window : (int32_t)a->x.pixel,
                    a->filter + group * outputs, a->k, 0, y + group * outputs, y_pixel);
    }
    for (int32_t i = 0; i < count; i++) finish_pixel(a, y + (int64_t)i * y_pixel, pixel + i);
}

static int32_t blocks_of_picture(const rn_conv2d_args *a)
{
    return (a->p * a->q + BLOCK_PIXELS - 1) / BLOCK_PIXELS;
}

static void run_blocks(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    const blas_job *job = context;
    const int32_t blocks = blocks_of_picture(&job->args), pixels = job->args.p * job->args.q;
    float *matrix = (float *)((char *)job->executor->scratch.at + (size_t)thread * job->executor->scratch_bytes);
    for (int32_t i = begin; i < end; i++) {
        const int32_t first = i % blocks * BLOCK_PIXELS, left = pixels - first;
        run_block(job, (int64_t)(i / blocks) * pixels + first, left < BLOCK_PIXELS ? left : BLOCK_PIXELS, matrix);
    }
}

static void run_blas(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    blas_job job = {.executor = e, .args = rn__cpu_conv2d_args(e, step->op, rows)};
    job.gather = needs_gather(&job.args);
    rn__thread_pool_run(e->pool, rows * blocks_of_picture(&job.args), rn__thread_pool_thread_count(e->pool), run_blocks, &job);
}

void rn__cpu_blas_prepare(rn_executor *e, rn__cpu_step *step)
{
    openblas_set_num_threads(1); /* our pool is the only one that splits work */
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, 1);
    const int64_t gathered = needs_gather(&args) ? window_elements(&args) : 0, unstored = step->op->outputs[0] == RN_NONE ? args.k : 0;
    rn__cpu_need_scratch(e, (size_t)(BLOCK_PIXELS * (gathered + unstored)) * sizeof(float));
    step->run = run_blas;
}
