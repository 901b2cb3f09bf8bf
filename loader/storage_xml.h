/* The leaves of an XML document, one after the other. */
#ifndef RN_LOADER_STORAGE_XML_H
#define RN_LOADER_STORAGE_XML_H

#include "kernels/base/error.h"

#include <stddef.h>

/* path: "ListBucketResult/Contents/Key"; text: of this element, without that of the elements in it, NUL-terminated; both borrowed. Called
 * at the end of every element, so that it sees a container after what it contains. Anything but OK ends the reading with it. */
typedef rn_status (*rn__xml_visit)(void *context, const char *path, const char *text, rn_error *err);

/* UNAVAILABLE: not well-formed, a document type (which the storages never send), or deeper and longer than theirs are. */
rn_status rn__xml_read(const char *bytes, size_t count, rn__xml_visit visit, void *context, rn_error *err);

#endif
