/* The picture that input and serve work on: a file, or one that looks enough like a photograph. */
#ifndef RN_TOOLS_BENCH_SAMPLE_PICTURE_H
#define RN_TOOLS_BENCH_SAMPLE_PICTURE_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_PICTURE_W = 600, BENCH_PICTURE_H = 512 }; /* of the made-up one */

typedef struct bench_picture {
    uint8_t *bytes; /* the encoded file */
    size_t byte_count;
    uint8_t *pixels; /* [BENCH_PICTURE_H][BENCH_PICTURE_W][3] as they were before encoding; NULL for a file */
} bench_picture;

/* path: NULL makes a JPEG of about 60 KB, 4:2:0, quality 90. Fails as bench_fail does. */
void bench_picture_init(bench_picture *picture, const char *path);
void bench_picture_deinit(bench_picture *picture);

#endif
