/* The one symbol that the plug-in exports. */
#include "engine/cuda/cuda_backend.h"

#include <stddef.h>

rn_backend_entry_fn rn_backend_entry __attribute__((visibility("default")));

const rn_backend *rn_backend_entry(unsigned long contract)
{
    return contract == RN_BACKEND_CONTRACT ? &rn_cuda_backend : NULL;
}
