/* The build passes both strings; this object is rebuilt whenever they change. */
#include "kernels/base/version.h"

const char rn_version[] = RN_VERSION;
const char rn_commit[] = RN_COMMIT;
