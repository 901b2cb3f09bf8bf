/* Lets a test in another language see pictures as engine/image sees them: one command a line in, one answer out, many pictures a process.
 *
 *   decode CHANNELS PATH                           the decoded picture
 *   fit CROP H W C CHANNELS PATH                   decoded and fitted; CROP: none, up, down
 *   resize IN_H IN_W C OUT_H OUT_W PATH            PATH holds raw pixels
 *
 * Answer: "ok H W C\n" and H * W * C bytes, or "error MESSAGE\n" where MESSAGE starts with the status.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"

/* A file in memory that is exactly as long as the file, so that a sanitizer sees a read past its end. */
static uint8_t *read_file(const char *path, size_t *byte_count)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *byte_count = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*byte_count ? *byte_count : 1);
    if (bytes && fread(bytes, 1, *byte_count, file) != *byte_count) *byte_count = 0;
    fclose(file);
    return bytes;
}

static void answer(rn_status status, const rn_error *err, const rn_picture *picture)
{
    if (status != RN_STATUS_OK) {
        printf("error %s: %s\n", rn_status_text(status), err->message);
    } else {
        printf("ok %d %d %d\n", picture->h, picture->w, picture->c);
        fwrite(picture->pixels, 1, (size_t)picture->h * (size_t)picture->w * (size_t)picture->c, stdout);
    }
    fflush(stdout);
}

/* The position of `word` in a list, -1 when it is not there. */
static int find(const char *const *words, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0) return i;
    return -1;
}

static void answer_floats(const rn_image_op *op, const float *values)
{
    printf("ok %d %d %d\n", op->h, op->w, op->c);
    fwrite(values, sizeof *values, (size_t)op->h * (size_t)op->w * (size_t)op->c, stdout);
    fflush(stdout);
}

static bool resize(const char *line)
{
    static const char *const methods[] = {"bilinear", "nearest", "bicubic", "area"}, *const grids[] = {"half_pixel", "corner", "aligned"};
    char method[16], grid[16], form[16], path[4096];
    rn_image_op op = {0};
    rn_picture in = {0};
    size_t byte_count;
    if (sscanf(line, "resize %15s %15s %15s %d %d %d %d %d %4095[^\n]", method, grid, form, &in.h, &in.w, &in.c, &op.h, &op.w, path) != 9)
        return false;
    const int m = find(methods, 4, method), g = find(grids, 3, grid);
    if (m < 0 || g < 0) return false;
    op.method = (rn_resize_method)m, op.grid = (rn_resize_grid)g;
    op.full_h = op.h, op.full_w = op.w, op.c = in.c;
    op.as_float = strcmp(form, "float") == 0;
    op.clip = strcmp(form, "clipped") == 0;
    in.pixels = read_file(path, &byte_count);
    float *out = malloc((size_t)op.h * (size_t)op.w * (size_t)op.c * sizeof *out);
    rn_error err = {0};
    const rn_status status = rn_picture_fit(&op, &in, out, &err);
    const rn_picture bytes = {.h = op.h, .w = op.w, .c = op.c, .pixels = (uint8_t *)out};
    if (status == RN_STATUS_OK && op.as_float)
        answer_floats(&op, out);
    else
        answer(status, &err, &bytes);
    free(out);
    rn_picture_deinit(&in);
    return true;
}

static rn_crop_rule crop_rule(const char *name)
{
    return strcmp(name, "up") == 0     ? RN_CROP_CENTER_SQUARE_ROUND_UP
           : strcmp(name, "down") == 0 ? RN_CROP_CENTER_SQUARE_ROUND_DOWN
                                       : RN_CROP_NONE;
}

/* False when the line is none of the commands. */
static bool run(const char *line)
{
    char crop[8], path[4096];
    rn_image_op op = {0};
    rn_picture in = {0}, out = {0};
    rn_error err = {0};
    rn_status status;
    size_t byte_count = 0;
    uint8_t *bytes = NULL;

    if (sscanf(line, "decode %d %4095[^\n]", &op.decode_channels, path) == 2) {
        bytes = read_file(path, &byte_count);
        status = rn_picture_decode(&(rn_picture_source){.bytes = bytes, .byte_count = byte_count}, op.decode_channels, &in, &err);
        answer(status, &err, &in);
    } else if (sscanf(line, "fit %7s %d %d %d %d %4095[^\n]", crop, &op.h, &op.w, &op.c, &op.decode_channels, path) == 6) {
        bytes = read_file(path, &byte_count);
        op.crop = crop_rule(crop);
        op.full_h = op.h, op.full_w = op.w;
        out = (rn_picture){.h = op.h, .w = op.w, .c = op.c, .pixels = malloc((size_t)op.h * (size_t)op.w * (size_t)op.c)};
        status = rn_image_run(&op, &(rn_picture_source){.bytes = bytes, .byte_count = byte_count}, out.pixels, &err);
        answer(status, &err, &out);
    } else {
        return resize(line);
    }
    free(bytes);
    rn_picture_deinit(&in);
    rn_picture_deinit(&out);
    return true;
}

int main(void)
{
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        if (!run(line)) {
            fprintf(stderr, "picture_dump: not a command: %s", line);
            return 2;
        }
    }
    return 0;
}
