/* The services of the gRPC port as protocol buffers describe them: the files of http/api, compiled into this program. */
#ifndef RN_HTTP_GRPC_DESCRIPTORS_H
#define RN_HTTP_GRPC_DESCRIPTORS_H

#include "http/proto/descriptor.pb-c.h"
#include "http/text.h"
#include "kernels/base/error.h"

enum { RN__GRPC_MAX_FILES = 16 };

typedef struct rn__grpc_files {
    Descriptor__FileSet *set; /* set->file: a FileDescriptorProto each, as bytes */
    Descriptor__File *files[RN__GRPC_MAX_FILES];
    int32_t count;
} rn__grpc_files;

rn_status rn__grpc_files_open(rn__grpc_files *out, rn_error *err);
void rn__grpc_files_close(rn__grpc_files *files);

/* The index of a file, -1 when there is none. A symbol is the full name of a service, a method, a message or an enumeration. */
int32_t rn__grpc_file_by_name(const rn__grpc_files *files, rn_text name);
int32_t rn__grpc_file_by_symbol(const rn__grpc_files *files, rn_text symbol);

/* File `index` and everything that it imports, itself first: indices to `list` [RN__GRPC_MAX_FILES]; how many. */
int32_t rn__grpc_files_needed(const rn__grpc_files *files, int32_t index, int32_t *list);

#endif
