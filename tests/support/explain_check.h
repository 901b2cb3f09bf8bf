/* Explanations of a backend against the reference. */
#ifndef RN_TESTS_SUPPORT_EXPLAIN_CHECK_H
#define RN_TESTS_SUPPORT_EXPLAIN_CHECK_H

#include "engine/backend.h"

/* A synthetic network, optimised and explained, on the backend: a batch whose first part wants the top classes, whose second wants none,
 * and whose third asks for classes. Fails the running test when a class differs or the second part is touched. Returns the largest
 * difference of a map relative to the largest value. version: 1 or 2, of the network. isa: as in rn_backend_options. */
double rn_test_explain(const rn_backend *backend, int32_t version, const char *precision, const char *isa);

#endif
