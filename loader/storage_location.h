/* From URLs to what is there. */
#ifndef RN_LOADER_STORAGE_LOCATION_H
#define RN_LOADER_STORAGE_LOCATION_H

#include "loader/storage_private.h"

/* url: with "://". INVALID_ARGUMENT. */
rn_status rn__location_parse(const char *url, rn__location *out, rn_error *err);

/* All objects below the location, on all pages. On failure there is nothing to release. */
rn_status rn__location_list(rn__store *store, const rn__location *location, rn__objects *out, rn_error *err);

#endif
