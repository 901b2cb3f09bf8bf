/* What this build is. */
#ifndef RN_KERNELS_BASE_VERSION_H
#define RN_KERNELS_BASE_VERSION_H

extern const char rn_version[]; /* "0.1.0" */
extern const char rn_commit[];  /* of the sources, 12 hex digits, or "unknown" */

#endif
