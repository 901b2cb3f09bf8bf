/* Looking things up by decoding what protoc has written, anew for each question: clients ask once, when a person explores the server. */
#include "http/grpc_descriptors.h"

#include <stdbool.h>

#include "http/grpc_message.h"

extern const char rn__grpc_api_begin[], rn__grpc_api_end[];

__asm__(".pushsection .rodata\n"
        "rn__grpc_api_begin: .incbin \"http/api.pb\"\n"
        "rn__grpc_api_end:\n"
        ".popsection\n");

rn_status rn__grpc_files_open(rn__grpc_files *out, rn_error *err)
{
    ProtobufCMessage *message;
    *out = (rn__grpc_files){0};
    RN_TRY(rn__grpc_decode(&descriptor__file_set__descriptor, rn__grpc_api_begin, (size_t)(rn__grpc_api_end - rn__grpc_api_begin), &message,
                           err));
    out->set = (Descriptor__FileSet *)message;
    rn_status status = RN_STATUS_OK;
    if (out->set->n_file > RN__GRPC_MAX_FILES)
        status = RN_FAIL(err, RN_STATUS_INTERNAL, "http/api: expected at most %d files, found %zu", RN__GRPC_MAX_FILES, out->set->n_file);
    for (size_t i = 0; i < out->set->n_file && status == RN_STATUS_OK; i++) {
        const rn_text bytes = rn__grpc_text(out->set->file[i]);
        status = rn__grpc_decode(&descriptor__file__descriptor, bytes.at, bytes.bytes, &message, err);
        if (status == RN_STATUS_OK) out->files[out->count++] = (Descriptor__File *)message;
    }
    if (status != RN_STATUS_OK) rn__grpc_files_close(out);
    return status;
}

void rn__grpc_files_close(rn__grpc_files *files)
{
    for (int32_t i = 0; i < files->count; i++) rn__grpc_free_message(&files->files[i]->base);
    rn__grpc_free_message(files->set ? &files->set->base : NULL);
    *files = (rn__grpc_files){0};
}

int32_t rn__grpc_file_by_name(const rn__grpc_files *files, rn_text name)
{
    for (int32_t i = 0; i < files->count; i++)
        if (rn_text_same(rn__grpc_text(files->files[i]->name), name)) return i;
    return -1;
}

/* ---- symbols: names with a '.' between them, peeled off from the left ---- */

/* Whether *symbol begins with `name`, which is taken off together with its '.'. */
static bool peel(rn_text *symbol, rn_text name)
{
    if (symbol->bytes < name.bytes || memcmp(symbol->at, name.at, name.bytes) != 0) return false;
    const bool whole = symbol->bytes == name.bytes;
    if (!whole && symbol->at[name.bytes] != '.') return false;
    const size_t bytes = name.bytes + (whole ? 0 : 1);
    *symbol = (rn_text){symbol->at + bytes, symbol->bytes - bytes};
    return true;
}

static bool holds_name(Descriptor__Named *const *list, size_t count, rn_text name)
{
    for (size_t i = 0; i < count; i++)
        if (rn_text_same(rn__grpc_text(list[i]->name), name)) return true;
    return false;
}

/* Whether `symbol` is the type in these bytes, or one inside of it. */
static bool is_in_type(ProtobufCBinaryData bytes, rn_text symbol)
{
    ProtobufCMessage *message;
    const rn_text text = rn__grpc_text(bytes);
    if (rn__grpc_decode(&descriptor__type__descriptor, text.at, text.bytes, &message, NULL) != RN_STATUS_OK) return false;
    const Descriptor__Type *type = (const Descriptor__Type *)message;
    bool found = false;
    if (peel(&symbol, rn__grpc_text(type->name))) {
        found = symbol.bytes == 0 || holds_name(type->enum_type, type->n_enum_type, symbol);
        for (size_t i = 0; i < type->n_nested_type && !found; i++) found = is_in_type(type->nested_type[i], symbol);
    }
    rn__grpc_free_message(message);
    return found;
}

static bool is_in_service(const Descriptor__Service *service, rn_text symbol)
{
    return peel(&symbol, rn__grpc_text(service->name)) && (symbol.bytes == 0 || holds_name(service->method, service->n_method, symbol));
}

static bool is_in_file(const Descriptor__File *file, rn_text symbol)
{
    if (!peel(&symbol, rn__grpc_text(file->package))) return false;
    if (holds_name(file->enum_type, file->n_enum_type, symbol)) return true;
    for (size_t i = 0; i < file->n_service; i++)
        if (is_in_service(file->service[i], symbol)) return true;
    for (size_t i = 0; i < file->n_message_type; i++)
        if (is_in_type(file->message_type[i], symbol)) return true;
    return false;
}

int32_t rn__grpc_file_by_symbol(const rn__grpc_files *files, rn_text symbol)
{
    for (int32_t i = 0; i < files->count; i++)
        if (is_in_file(files->files[i], symbol)) return i;
    return -1;
}

int32_t rn__grpc_files_needed(const rn__grpc_files *files, int32_t index, int32_t *list)
{
    bool taken[RN__GRPC_MAX_FILES] = {false};
    int32_t count = 0;
    taken[index] = true;
    list[count++] = index;
    for (int32_t done = 0; done < count; done++) {
        const Descriptor__File *file = files->files[list[done]];
        for (size_t i = 0; i < file->n_dependency; i++) {
            const int32_t needed = rn__grpc_file_by_name(files, rn__grpc_text(file->dependency[i]));
            if (needed < 0 || taken[needed]) continue;
            taken[needed] = true;
            list[count++] = needed;
        }
    }
    return count;
}
