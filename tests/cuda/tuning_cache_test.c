/* The file of measured choices: what goes in comes out, and whatever is wrong with the file costs one log line and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cuda/tuning_cache.h"

enum { SHAPES = 12 };
static const char owner[] = "Some GPU sm_90, driver 13000, cuDNN 91900";

typedef struct {
    char directory[64], path[128];
    int lines;
    char last[1024];
} fixture;

static void listen(void *context, const char *line)
{
    fixture *f = context;
    f->lines++;
    snprintf(f->last, sizeof f->last, "%s", line);
}

static rn__conv_shape shape_number(int32_t i)
{
    return (rn__conv_shape){.n = 1 + i,
                            .h = 14,
                            .w = 14,
                            .c = 256,
                            .k = 1024,
                            .p = 14,
                            .q = 14,
                            .r = 1,
                            .s = 1,
                            .stride_h = 1,
                            .stride_w = 1,
                            .groups = 1,
                            .x_dtype = RN_DTYPE_F16,
                            .y_dtype = RN_DTYPE_F32,
                            .residual = i % 2,
                            .relu = i % 3 == 0,
                            .tf32 = false};
}

static rn__tuning_cache *open_cache(fixture *f, const char *as)
{
    rn__tuning_cache *cache;
    assert_int_equal(rn__tuning_cache_open(f->directory, 90, as, listen, f, &cache, NULL), RN_STATUS_OK);
    return cache;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->directory, "/tmp/resnetd-tuning-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/resnetd-cuda-sm_90.tuning", f->directory);
    rn__tuning_cache *cache = open_cache(f, owner);
    for (int32_t i = 0; i < SHAPES; i++) {
        const rn__conv_shape shape = shape_number(i);
        const rn__conv_choice choice = {i % 2 ? RN__LIBRARY_CUBLASLT : RN__LIBRARY_CUDNN, i % 7, 1.5f * (float)i};
        assert_int_equal(rn__tuning_cache_put(cache, &shape, &choice, NULL), RN_STATUS_OK);
    }
    rn__tuning_cache_save(cache);
    rn__tuning_cache_close(cache);
    assert_int_equal(f->lines, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    remove(f->path);
    remove(f->directory);
    free(f);
    return 0;
}

static int32_t known(const rn__tuning_cache *cache)
{
    int32_t count = 0;
    rn__conv_choice choice;
    for (int32_t i = 0; i < SHAPES; i++) {
        const rn__conv_shape shape = shape_number(i);
        if (!rn__tuning_cache_find(cache, &shape, &choice)) continue;
        count++;
        assert_int_equal(choice.library, i % 2 ? RN__LIBRARY_CUBLASLT : RN__LIBRARY_CUDNN);
        assert_int_equal(choice.way, i % 7);
    }
    return count;
}

static void what_goes_in_comes_out(void **state)
{
    fixture *f = *state;
    rn__tuning_cache *cache = open_cache(f, owner);
    assert_int_equal(known(cache), SHAPES);
    const rn__conv_shape other = shape_number(SHAPES);
    rn__conv_choice choice;
    assert_false(rn__tuning_cache_find(cache, &other, &choice));
    rn__tuning_cache_close(cache);
    rn__tuning_cache_close(NULL);
    assert_int_equal(f->lines, 0);
}

static void a_foreign_file_is_ignored(void **state)
{
    fixture *f = *state;
    rn__tuning_cache *cache = open_cache(f, "Some GPU sm_90, driver 13010, cuDNN 91900");
    assert_int_equal(known(cache), 0);
    assert_int_equal(f->lines, 1);
    assert_non_null(strstr(f->last, "belongs to another device, driver or library"));
    rn__tuning_cache_close(cache);
}

/* The file cut at every length, and with every byte changed. */
static void a_damaged_file_is_ignored(void **state)
{
    fixture *f = *state;
    static char text[64 * 1024];
    FILE *file = fopen(f->path, "r");
    assert_non_null(file);
    const size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    assert_in_range(length, 500, sizeof text - 1);
    for (size_t i = 0; i < 2 * length; i++) {
        const bool cut = i < length;
        const size_t at = cut ? i : i - length;
        const char before = text[at];
        if (!cut) text[at] ^= 1;
        file = fopen(f->path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, cut ? at : length, file), cut ? at : length);
        fclose(file);
        text[at] = before;
        f->lines = 0;
        rn__tuning_cache *cache = open_cache(f, owner);
        const int32_t found = known(cache);
        /* The end of the last line alone says nothing new. */
        if (found != 0 || f->lines != 1) assert_true(at >= length - 1 && found == SHAPES && f->lines == 0);
        rn__tuning_cache_close(cache);
    }
}

static void a_file_that_cannot_be_written_is_reported(void **state)
{
    fixture *f = *state;
    rn__tuning_cache *cache;
    assert_int_equal(rn__tuning_cache_open("/proc/nowhere", 90, owner, listen, f, &cache, NULL), RN_STATUS_OK);
    const rn__conv_shape shape = shape_number(0);
    assert_int_equal(rn__tuning_cache_put(cache, &shape, &(rn__conv_choice){.way = 1}, NULL), RN_STATUS_OK);
    rn__tuning_cache_save(cache);
    assert_int_equal(f->lines, 1);
    assert_non_null(strstr(f->last, "cannot be written"));
    rn__tuning_cache_close(cache);
    assert_int_equal(rn__tuning_cache_open(NULL, 90, owner, listen, f, &cache, NULL), RN_STATUS_OK);
    rn__tuning_cache_save(cache);
    rn__tuning_cache_close(cache);
    assert_int_equal(f->lines, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_goes_in_comes_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_foreign_file_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_written_is_reported, setup, teardown),
    };
    return cmocka_run_group_tests_name("tuning cache", tests, NULL, NULL);
}
