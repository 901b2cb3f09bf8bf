/* Uses of cuDNN's backend API, right and wrong, with what the library makes of each. The same checks run against the stand-in (tests/cuda) and against the
 * real library (tests/cuda_libraries), so that the stand-in does not accept what the library refuses. */
#ifndef RN_TESTS_CUDA_CUDNN_RULES_H
#define RN_TESTS_CUDA_CUDNN_RULES_H

#include <cudnn.h>

/* device: finalized. Exits the test on the first difference. */
void check_cudnn_rules(cudnnBackendDescriptor_t device);

#endif
