/* `resnet-bench input`: what a request costs before and after the network, on one core: pictures to pixels, base64, numbers to and from
 * JSON, written with as many digits as clients do. "From memory" is a text that no cache holds, as after a body has come from the network.
 * Every result is held against what it has to be before it is timed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"
#include "http/base64.h"
#include "http/json_number.h"
#include "http/json_reader.h"
#include "http/json_writer.h"
#include "kernels/base/cpu_features.h"
#include "kernels/base/version.h"
#include "tools/bench/failure.h"
#include "tools/bench/options.h"
#include "tools/bench/record.h"
#include "tools/bench/sample_picture.h"
#include "tools/bench/timing.h"

enum { SIDE = 224, NUMBERS = SIDE * SIDE * 3, COLD_BYTES = 256 << 20, NUMBER_BYTES = 24 };

/* Python's json.dumps of a float32 that became a double, C's way to keep a float, and rounded numbers. */
static const char *const formats[] = {"%.17g", "%.9g", "%.8f", "%.6f", "%.4f"};
enum { FORMATS = sizeof formats / sizeof *formats };

/* Everything that the pieces of work read and write. */
typedef struct {
    bench_picture encoded;
    rn_picture decoded;
    uint8_t *fitted;    /* [SIDE][SIDE][3] */
    rn_text base64;
    uint8_t *plain;     /* what base64 was decoded to */
    char *encoded_again;
    size_t plain_bytes;
    char *cold;              /* copies of base64, COLD_BYTES in all */
    size_t cold_at;
    float *numbers, *parsed; /* [NUMBERS] */
    rn_json_writer text;     /* numbers as an array */
    rn_text requests[FORMATS]; /* {"instances": [[[[r, g, b], ...], ...]]} */
    int32_t format;          /* of the request that is read */
} work;

static const rn_image_op fit = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = SIDE, .full_w = SIDE, .h = SIDE, .w = SIDE, .c = 3, .decode_channels = 3};

/* ---- the pieces ---- */

/* Into the same memory each time, as a server's workers do. */
static void decode_picture(void *context)
{
    work *w = context;
    rn_error err;
    const rn_picture_source source = {.bytes = w->encoded.bytes, .byte_count = w->encoded.byte_count};
    bench_check(rn_picture_decode_again(&source, fit.decode_channels, &w->decoded, &err), &err);
}

static void resize_picture(void *context)
{
    work *w = context;
    rn_error err;
    bench_check(rn_picture_fit(&fit, &w->decoded, w->fitted, &err), &err);
}

static void decode_base64(void *context)
{
    work *w = context;
    if (!rn_base64_decode(w->base64, w->plain, &w->plain_bytes)) bench_fail("base64 was refused");
}

static void decode_cold_base64(void *context)
{
    work *w = context;
    if (w->cold_at + w->base64.bytes > COLD_BYTES) w->cold_at = 0;
    const rn_text text = {w->cold + w->cold_at, w->base64.bytes};
    w->cold_at += text.bytes;
    if (!rn_base64_decode(text, w->plain, &w->plain_bytes)) bench_fail("base64 was refused");
}

static void encode_base64(void *context)
{
    work *w = context;
    rn_base64_encode((rn_text){(char *)w->encoded.bytes, w->encoded.byte_count}, w->encoded_again);
}

/* All that a predict call does with the text of its numbers. */
static void read_request(void *context)
{
    work *w = context;
    const rn_text text = w->requests[w->format];
    rn_json_member member = {.name = "instances"};
    const char *root;
    rn_error err;
    bench_check(rn_json_check(text, &member, 1, &root, &err), &err);
    const char *row = rn_json_first(rn_json_first(member.value));
    for (int32_t y = 0; y < SIDE; y++) {
        const char *end = rn_json_float_rows(row, text.at + text.bytes, SIDE, 3, w->parsed + y * SIDE * 3);
        if (!end) bench_fail("row %d was refused", y);
        row = rn_json_next(end);
    }
}

static void write_numbers(void *context)
{
    work *w = context;
    w->text.bytes = 0;
    rn_json_begin_array(&w->text);
    for (int32_t i = 0; i < NUMBERS; i++) rn_json_float_value(&w->text, w->numbers[i]);
    rn_json_end_array(&w->text);
}

/* ---- what they have to give ---- */

/* A made-up picture has to come back: encoding costs some levels, on average. Files have no original. */
static bool picture_is_right(const work *w)
{
    if (!w->encoded.pixels) return true;
    if (w->decoded.h != BENCH_PICTURE_H || w->decoded.w != BENCH_PICTURE_W || w->decoded.c != 3) return false;
    const int64_t count = (int64_t)BENCH_PICTURE_H * BENCH_PICTURE_W * 3;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += abs(w->decoded.pixels[i] - w->encoded.pixels[i]);
    return sum / (double)count < 8;
}

static double mix(double a, double b, double weight)
{
    return a + (b - a) * weight;
}

/* tf.image.resize's bilinear with half-pixel centres, in double precision and pixel by pixel. */
static double resized_pixel(const rn_picture *p, int32_t top, int32_t left, double scale, int32_t y, int32_t x, int32_t c)
{
    const double in_y = fmax((y + 0.5) * scale - 0.5, 0), in_x = fmax((x + 0.5) * scale - 0.5, 0);
    const int32_t side = p->h < p->w ? p->h : p->w, y0 = (int32_t)in_y, x0 = (int32_t)in_x;
    const int32_t y1 = y0 + 1 < side ? y0 + 1 : y0, x1 = x0 + 1 < side ? x0 + 1 : x0;
    const uint8_t *row0 = p->pixels + ((int64_t)(top + y0) * p->w + left) * 3 + c;
    const uint8_t *row1 = p->pixels + ((int64_t)(top + y1) * p->w + left) * 3 + c;
    return mix(mix(row0[3 * x0], row0[3 * x1], in_x - x0), mix(row1[3 * x0], row1[3 * x1], in_x - x0), in_y - y0);
}

/* Truncation may go either way of the last bit of a float: one level. */
static bool resize_is_right(const work *w)
{
    const rn_picture *p = &w->decoded;
    const int32_t side = p->h < p->w ? p->h : p->w, top = (p->h - side + 1) / 2, left = (p->w - side + 1) / 2;
    for (int32_t i = 0; i < NUMBERS; i++) {
        const double expected = resized_pixel(p, top, left, (double)side / SIDE, i / 3 / SIDE, i / 3 % SIDE, i % 3);
        if (!(fabs(w->fitted[i] - floor(expected)) <= 1)) return false;
    }
    return true;
}

static bool base64_is_right(const work *w)
{
    return w->plain_bytes == w->encoded.byte_count && memcmp(w->plain, w->encoded.bytes, w->plain_bytes) == 0;
}

static bool base64_text_is_right(const work *w)
{
    return memcmp(w->encoded_again, w->base64.at, w->base64.bytes) == 0;
}

/* As the text has them. */
static bool request_is_right(const work *w)
{
    const char *at = w->requests[w->format].at;
    for (int32_t i = 0; i < NUMBERS; i++) {
        char *end;
        at = strpbrk(at, "0123456789");
        if ((float)strtod(at, &end) != w->parsed[i]) return false;
        at = end;
    }
    return true;
}

static bool text_is_right(const work *w)
{
    char *end = w->text.text + 1;
    for (int32_t i = 0; i < NUMBERS; i++, end += strspn(end, ", ")) {
        if (strtof(end, &end) != w->numbers[i]) return false;
    }
    return !w->text.failed && *end == ']';
}

/* ---- what is measured ---- */

static size_t picture_bytes(const work *w)
{
    return (size_t)w->decoded.h * (size_t)w->decoded.w * (size_t)w->decoded.c;
}
static size_t fitted_bytes(const work *w)
{
    (void)w;
    return NUMBERS;
}
static size_t base64_bytes(const work *w)
{
    return w->base64.bytes;
}
static size_t text_bytes(const work *w)
{
    return w->text.bytes;
}

static size_t request_bytes(const work *w)
{
    return w->requests[w->format].bytes;
}

static const struct {
    const char *name, *unit;
    void (*run)(void *work);
    bool (*is_right)(const work *work);
    size_t (*bytes)(const work *work); /* of the unit, in one call */
} pieces[] = {
    {"decode picture", "pixels out", decode_picture, picture_is_right, picture_bytes},
    {"crop and resize", "pixels out", resize_picture, resize_is_right, fitted_bytes},
    {"base64 decode", "text in", decode_base64, base64_is_right, base64_bytes},
    {"base64 decode from memory", "text in", decode_cold_base64, base64_is_right, base64_bytes},
    {"base64 encode", "text out", encode_base64, base64_text_is_right, base64_bytes},
    {"JSON numbers write", "text out", write_numbers, text_is_right, text_bytes},
    {"JSON numbers %.17g", "text in", read_request, request_is_right, request_bytes},
    {"JSON numbers %.9g", "text in", read_request, request_is_right, request_bytes},
    {"JSON numbers %.8f", "text in", read_request, request_is_right, request_bytes},
    {"JSON numbers %.6f", "text in", read_request, request_is_right, request_bytes},
    {"JSON numbers %.4f", "text in", read_request, request_is_right, request_bytes},
};
enum { PIECE_COUNT = sizeof pieces / sizeof *pieces };

static rn_text write_request(const float *numbers, const char *format)
{
    char *text = bench_allocate((size_t)NUMBERS * (NUMBER_BYTES + 8)), *out = text;
    out = stpcpy(out, "{\"instances\": [[");
    for (int32_t i = 0; i < NUMBERS; i++) {
        out = stpcpy(out, i % (SIDE * 3) == 0 ? "[[" : i % 3 == 0 ? "[" : "");
        out += snprintf(out, NUMBER_BYTES, format, (double)numbers[i]);
        out = stpcpy(out, i == NUMBERS - 1 ? "]]]]}" : i % (SIDE * 3) == SIDE * 3 - 1 ? "]], " : i % 3 == 2 ? "], " : ", ");
    }
    return (rn_text){text, (size_t)(out - text)};
}

static void init(work *w, const bench_options *o)
{
    bench_picture_init(&w->encoded, o->picture);
    const size_t text_bytes = 4 * (w->encoded.byte_count / 3 + 1);
    char *text = bench_allocate(text_bytes);
    w->base64 = (rn_text){text, rn_base64_encode((rn_text){(char *)w->encoded.bytes, w->encoded.byte_count}, text)};
    w->plain = bench_allocate(rn_base64_bound(text_bytes));
    w->encoded_again = bench_allocate(text_bytes);
    w->fitted = bench_allocate(NUMBERS);
    w->numbers = bench_allocate(NUMBERS * sizeof *w->numbers);
    w->parsed = bench_allocate(NUMBERS * sizeof *w->parsed);
    uint32_t random = 1;
    for (int32_t i = 0; i < NUMBERS; i++) {
        random = random * 1664525u + 1013904223u;
        w->numbers[i] = (float)(random >> 8) * 0x1p-24f;
    }
    for (int32_t f = 0; f < FORMATS; f++) w->requests[f] = write_request(w->numbers, formats[f]);
    w->cold = bench_allocate(COLD_BYTES);
    for (size_t at = 0; at + w->base64.bytes <= COLD_BYTES; at += w->base64.bytes) memcpy(w->cold + at, w->base64.at, w->base64.bytes);
    rn_json_writer_init(&w->text);
    w->text.single_line = true;
}

static void deinit(work *w)
{
    rn_json_writer_deinit(&w->text);
    rn_picture_deinit(&w->decoded);
    bench_picture_deinit(&w->encoded);
    free((void *)w->base64.at);
    free(w->plain);
    free(w->cold);
    for (int32_t f = 0; f < FORMATS; f++) free((void *)w->requests[f].at);
    free(w->encoded_again);
    free(w->fitted);
    free(w->numbers);
    free(w->parsed);
}

int bench_input(const bench_options *o)
{
    work w = {0};
    init(&w, o);
    double *times = bench_allocate(BENCH_MAX_RUNS * sizeof *times);
    if (!o->json) {
        printf("%s, one core, commit %s; a picture of %zu bytes, %d numbers\n", rn_cpu_model(), rn_commit, w.encoded.byte_count, NUMBERS);
    }
    for (int i = 0; i < PIECE_COUNT; i++) {
        w.format = 0;
        while (w.format < FORMATS - 1 && !strstr(pieces[i].name, formats[w.format])) w.format++;
        pieces[i].run(&w);
        if (!pieces[i].is_right(&w)) bench_fail("%s: the result is wrong, nothing is timed", pieces[i].name);
        const int32_t count = bench_time(pieces[i].run, &w, o->seconds, times);
        const double median = bench_percentile(times, count, 50), bytes = (double)pieces[i].bytes(&w);
        if (o->json) {
            bench_record_print(json_pack("{ss ss ss sf sf sf si}", "measures", "input", "work", pieces[i].name, "unit", pieces[i].unit,
                                         "median_us", 1e6 * median, "bytes", bytes, "gb_per_s", 1e-9 * bytes / median, "runs", count));
        } else {
            printf("%-26s %9.1f us  %8.1f a second  %7.3f GB/s of %s\n", pieces[i].name, 1e6 * median, 1 / median, 1e-9 * bytes / median,
                   pieces[i].unit);
        }
        fflush(stdout);
    }
    free(times);
    deinit(&w);
    return 0;
}
