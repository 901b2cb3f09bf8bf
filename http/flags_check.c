/* What no single flag can tell: which values exist, and which flags go together. */
#include <string.h>

#include "http/flags.h"
#include "http/model_config.h"
#include "kernels/base/cpu_features.h"
#include "loader/storage.h"

/* Of any device. */
static bool is_precision(const char *name)
{
    static const char *const names[] = {"fp32", "tf32", "fp16", "bf16", "auto"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

rn_status rn_flags_check(const rn_flags *flags, rn_error *err)
{
    if (*flags->batching_parameters_file && !flags->enable_batching)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--batching_parameters_file does not go with --enable_batching=false");
    rn_isa isa;
    if (*flags->isa && !rn_isa_by_name(flags->isa, &isa))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--isa: expected one of%s, found \"%s\"", rn_isa_names, flags->isa);
    if (!*flags->tls_certificate != !*flags->tls_key)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--tls_certificate and --tls_key are needed together");
    if (*flags->tls_client_ca && !*flags->tls_certificate)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--tls_client_ca needs --tls_certificate");
    if (*flags->precision && !is_precision(flags->precision))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--precision: expected fp32, tf32, fp16, bf16 or auto, found \"%s\"",
                       flags->precision);
    if (*flags->mixed_precision && strcmp(flags->mixed_precision, "bfloat16") != 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--mixed_precision: expected bfloat16, found \"%s\"", flags->mixed_precision);
    if (strcmp(flags->log_format, "text") != 0 && strcmp(flags->log_format, "json") != 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--log_format: expected text or json, found \"%s\"", flags->log_format);
    if (flags->prefer_tflite_model)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--prefer_tflite_model: TensorFlow Lite models are not served");
    if (flags->use_alts_credentials) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--use_alts_credentials: ALTS is not spoken");
    if (strcmp(flags->saved_model_tags, "serve") != 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--saved_model_tags: expected \"serve\", found \"%s\"", flags->saved_model_tags);
    if (*flags->model_config_file) return RN_STATUS_OK;
    if (!*flags->model_base_path)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "--model_base_path is needed, or --model_config_file: where is the model? resnetd --help lists all flags");
    if (rn_storage_is_url(flags->model_base_path)) RN_TRY(rn_storage_check_url(flags->model_base_path, err));
    const rn_status status = rn_model_config_check_name(rn_text_of(flags->model_name), err);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "--model_name");
    return status;
}
