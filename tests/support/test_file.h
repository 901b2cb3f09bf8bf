/* Files that a test writes again and again, each time with other damage. */
#ifndef RN_TESTS_SUPPORT_TEST_FILE_H
#define RN_TESTS_SUPPORT_TEST_FILE_H

#include <stddef.h>

/* The file holds these bytes and no more afterwards; aborts when it cannot be written. It is written over and cut to length, never emptied first:
 * ext4 puts what replaces an emptied file on the disk before close returns, which is milliseconds. */
void rn_test_write_file(const char *path, const void *bytes, size_t count);

#endif
