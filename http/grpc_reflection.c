/* grpc.reflection.v1 and v1alpha: what grpcurl, grpcui and Postman ask a server that they know nothing about. A stream in both directions;
 * each question is answered by itself. There are no extensions in http/api. */
#include <stdio.h>

#include "http/grpc_call.h"
#include "http/grpc_descriptors.h"
#include "http/grpc_message.h"
#include "http/proto/reflection.pb-c.h"
#include "http/status_map.h"

enum { MAX_SERVICES = 16 };

/* Parts of an answer, which point to each other and must stay where they are. */
typedef struct {
    Reflection__Response response;
    Reflection__Files files;
    Reflection__ExtensionNumbers extensions;
    Reflection__Services services;
    Reflection__Error error;
    ProtobufCBinaryData file_list[RN__GRPC_MAX_FILES];
    Reflection__Service service[MAX_SERVICES], *service_list[MAX_SERVICES];
    char names[MAX_SERVICES][128], message[RN_ERROR_MESSAGE_BYTES];
} answer;

static void say_error(answer *a, rn_status status, const char *what, ProtobufCBinaryData name)
{
    snprintf(a->message, sizeof a->message, "%s: %.*s", what, RN_TEXT_ARG(rn__grpc_text(name)));
    reflection__error__init(&a->error);
    a->error.error_code = rn_status_grpc_code(status);
    a->error.error_message = a->message;
    a->response.message_response_case = REFLECTION__RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    a->response.error_response = &a->error;
}

static void say_files(answer *a, const rn__grpc_files *files, int32_t index)
{
    int32_t list[RN__GRPC_MAX_FILES];
    const int32_t count = rn__grpc_files_needed(files, index, list);
    for (int32_t i = 0; i < count; i++) a->file_list[i] = files->set->file[list[i]];
    reflection__files__init(&a->files);
    a->files.n_file_descriptor_proto = (size_t)count;
    a->files.file_descriptor_proto = a->file_list;
    a->response.message_response_case = REFLECTION__RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    a->response.file_descriptor_response = &a->files;
}

static void say_services(answer *a, const rn__grpc_files *files)
{
    size_t count = 0;
    for (int32_t f = 0; f < files->count; f++)
        for (size_t i = 0; i < files->files[f]->n_service && count < MAX_SERVICES; i++, count++) {
            const rn_text package = rn__grpc_text(files->files[f]->package), name = rn__grpc_text(files->files[f]->service[i]->name);
            snprintf(a->names[count], sizeof a->names[count], "%.*s.%.*s", RN_TEXT_ARG(package), RN_TEXT_ARG(name));
            reflection__service__init(&a->service[count]);
            a->service[count].name = rn__grpc_bytes(rn_text_of(a->names[count]));
            a->service_list[count] = &a->service[count];
        }
    reflection__services__init(&a->services);
    a->services.n_service = count;
    a->services.service = a->service_list;
    a->response.message_response_case = REFLECTION__RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    a->response.list_services_response = &a->services;
}

static void say_extensions(answer *a, const rn__grpc_files *files, ProtobufCBinaryData type)
{
    if (rn__grpc_file_by_symbol(files, rn__grpc_text(type)) < 0) {
        say_error(a, RN_STATUS_NOT_FOUND, "Type not found", type);
        return;
    }
    reflection__extension_numbers__init(&a->extensions);
    a->extensions.base_type_name = type;
    a->response.message_response_case = REFLECTION__RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    a->response.all_extension_numbers_response = &a->extensions;
}

static void find(answer *a, const rn__grpc_files *files, const Reflection__Request *request)
{
    int32_t index;
    switch (request->message_request_case) {
    case REFLECTION__REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        index = rn__grpc_file_by_name(files, rn__grpc_text(request->file_by_filename));
        if (index >= 0)
            say_files(a, files, index);
        else
            say_error(a, RN_STATUS_NOT_FOUND, "File not found", request->file_by_filename);
        return;
    case REFLECTION__REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        index = rn__grpc_file_by_symbol(files, rn__grpc_text(request->file_containing_symbol));
        if (index >= 0)
            say_files(a, files, index);
        else
            say_error(a, RN_STATUS_NOT_FOUND, "Symbol not found", request->file_containing_symbol);
        return;
    case REFLECTION__REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        say_error(a, RN_STATUS_NOT_FOUND, "Extension not found", request->file_containing_extension->containing_type);
        return;
    case REFLECTION__REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        say_extensions(a, files, request->all_extension_numbers_of_type);
        return;
    case REFLECTION__REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        say_services(a, files);
        return;
    default:
        say_error(a, RN_STATUS_INVALID_ARGUMENT, "Reflection request without a question", request->host);
    }
}

void rn__grpc_reflect(rn__grpc_call *call)
{
    rn__grpc_files files;
    rn_error err;
    if (rn__grpc_files_open(&files, &err) != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    Reflection__Request *request = (Reflection__Request *)call->request;
    answer a = {.response = REFLECTION__RESPONSE__INIT};
    a.response.valid_host = request->host;
    a.response.original_request = request;
    find(&a, &files, request);
    rn__grpc_answer(call, &a.response.base);
    rn__grpc_files_close(&files);
}
