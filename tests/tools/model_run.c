/* Lets a test in another language see what a stored model becomes and what it computes, without a server.
 *
 *   model_run MODEL                                 architecture, load time, signatures, operations
 *   model_run MODEL SIGNATURE INPUT OUT             runs it once on the CPU backend
 *
 * INPUT: raw rows of the signature's numeric input, or for pictures a text file with one path a line. Writes OUT.<output name>: raw rows,
 * labels as int32 indexes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/backend.h"
#include "engine/image/image.h"
#include "loader/repository.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(1);
}

static char *read_file(const char *path, size_t *byte_count)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    fseek(file, 0, SEEK_END);
    *byte_count = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*byte_count + 1);
    if (!bytes || fread(bytes, 1, *byte_count, file) != *byte_count) fail(path);
    bytes[*byte_count] = 0;
    fclose(file);
    return bytes;
}

static void show(const rn_plan *plan)
{
    int32_t kinds[RN_OP_COUNT] = {0};
    for (int32_t i = 0; i < plan->op_count; i++) kinds[plan->ops[i].kind]++;
    for (int k = 0; k < RN_OP_COUNT; k++) printf("%-20s %d\n", rn_op_kind_name((rn_op_kind)k), kinds[k]);
    printf("weights %d, parameters %lld, labels %d\n", plan->weights_count, (long long)rn_plan_parameter_count(plan), plan->label_count);
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        printf("signature %s: %s %s, %d operations, %lld multiplications\n", signature->name, signature->input.name,
               rn_dtype_tf_name(signature->input.dtype), signature->op_count, (long long)rn_plan_multiply_count(plan, signature));
        for (int32_t i = 0; i < signature->output_count; i++) {
            const rn_tensor_spec *spec = &signature->outputs[i];
            printf("  %s %s %s", spec->name, spec->tf_name, rn_dtype_tf_name(spec->dtype));
            for (int32_t d = 0; d < spec->rank; d++) printf(" %lld", (long long)spec->dims[d]);
            printf("\n");
        }
    }
}

/* Numbers as the caller has them, fitted to the feed tensor where the signature wants that. */
static void *read_numbers(const rn_plan *plan, const rn_signature *signature, char *file, size_t bytes, int32_t *rows)
{
    const rn_plan_tensor *input = &plan->tensors[signature->input.tensor];
    const size_t input_bytes = rn_plan_tensor_bytes(input), feed_bytes = rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    *rows = (int32_t)(bytes / input_bytes);
    if (signature->fit_op == RN_NONE) return file;
    char *fed = malloc((size_t)*rows * feed_bytes + 1);
    rn_error err;
    if (!fed) fail("no memory");
    for (int32_t i = 0; i < *rows; i++) {
        void *out = fed + (size_t)i * feed_bytes;
        if (rn_fit_run(&plan->ops[signature->fit_op].u.fit, input, file + (size_t)i * input_bytes, out, &err) != RN_STATUS_OK) fail(err.message);
    }
    free(file);
    return fed;
}

/* Rows of the feed tensor, decoded where the signature takes pictures. */
static void *read_rows(const rn_plan *plan, const rn_signature *signature, const char *path, int32_t *rows)
{
    size_t bytes;
    char *file = read_file(path, &bytes);
    const size_t row_bytes = rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    if (signature->image_op == RN_NONE) return read_numbers(plan, signature, file, bytes, rows);
    unsigned char *pixels = NULL;
    *rows = 0;
    for (char *line = strtok(file, "\n"); line; line = strtok(NULL, "\n"), (*rows)++) {
        rn_error err;
        size_t picture_bytes;
        char *picture = read_file(line, &picture_bytes);
        pixels = realloc(pixels, (size_t)(*rows + 1) * row_bytes);
        if (!pixels) fail("no memory");
        const rn_picture_source source = {.bytes = (uint8_t *)picture, .byte_count = picture_bytes};
        if (rn_image_run(&plan->ops[signature->image_op].u.image, &source, pixels + (size_t)*rows * row_bytes, &err) != RN_STATUS_OK)
            fail(err.message);
        free(picture);
    }
    free(file);
    return pixels;
}

static void run(const rn_plan *plan, const char *name, const char *input, const char *out)
{
    rn_error err;
    const rn_signature *signature = rn_plan_signature(plan, name);
    const rn_backend *backend;
    rn_executor *executor;
    if (!signature) fail("no such signature");
    rn_batch_part part = {0};
    void *rows = read_rows(plan, signature, input, &part.rows);
    part.input = rows;
    for (int32_t i = 0; i < signature->output_count; i++) {
        const size_t bytes = (size_t)part.rows * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]);
        part.outputs[i] = calloc(1, bytes ? bytes : 1);
        if (!part.outputs[i]) fail("no memory");
    }
    if (rn_backend_select("cpu", &backend, &err) != RN_STATUS_OK) fail(err.message);
    if (backend->prepare(plan, &(rn_backend_options){.max_batch = part.rows}, &executor, &err) != RN_STATUS_OK) fail(err.message);
    if (backend->run(executor, signature, &part, 1, &err) != RN_STATUS_OK) fail(err.message);
    for (int32_t i = 0; i < signature->output_count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s.%s", out, signature->outputs[i].name);
        FILE *file = fopen(path, "wb");
        if (!file) fail(path);
        fwrite(part.outputs[i], rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]), (size_t)part.rows, file);
        fclose(file);
        free(part.outputs[i]);
    }
    backend->destroy(executor);
    free(rows);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 5) fail("usage: model_run MODEL [SIGNATURE INPUT OUT]");
    rn_plan *plan;
    rn_error err = {0};
    const double start = now();
    if (rn_repository_load(argv[1], NULL, &plan, &err) != RN_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", rn_status_text(err.status), err.message);
        return 1;
    }
    printf("%s\nloaded in %.3f s\n", plan->architecture, now() - start);
    if (argc == 2)
        show(plan);
    else
        run(plan, argv[2], argv[3], argv[4]);
    rn_plan_destroy(plan);
    return 0;
}
