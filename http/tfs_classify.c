/* POST ...:classify and ...:regress. They take serialized Examples, which no image network's signature does: after the checks of the body,
 * the model and the signature, in TensorFlow Serving's order, every call ends in the refusal that it gives for such a signature. */
#include <stdlib.h>

#include "http/tfs.h"

static rn_status refuse(rn_exchange *x, const char *kind, const char *method, rn_error *err)
{
    rn_text body;
    char *inflated;
    rn__tfs_document document;
    rn_model *model;
    int64_t version;
    RN_TRY(rn__tfs_body(x, &body, &inflated, err));
    rn_status status = rn__tfs_parse(body, &document, err);
    if (status == RN_STATUS_OK) status = rn__tfs_check_examples(&document, err);
    free(inflated);
    RN_TRY(status);
    RN_TRY(rn__tfs_acquire(x, &model, &version, err));
    const rn_signature *signature = rn_plan_signature(rn_model_plan(model), document.signature_name);
    if (!signature)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "No signature was found with the name: %s", document.signature_name);
    else if (x->service->checks_method_names)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, RN__TFS_METHOD_NAME_ERROR, kind, method, signature->method_name);
    else
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                         "No %s inputs found in SignatureDef: %s takes no serialized Examples. Send pictures or pixels to :predict.", kind,
                         document.signature_name);
    rn_model_release(model);
    return status;
}

void rn__tfs_classify(rn_exchange *x)
{
    rn_error err = {.status = RN_STATUS_INTERNAL};
    refuse(x, "classification", RN__TFS_CLASSIFY_METHOD, &err);
    rn_exchange_fail(x, err.status, "%s", err.message);
}

void rn__tfs_regress(rn_exchange *x)
{
    rn_error err = {.status = RN_STATUS_INTERNAL};
    refuse(x, "regression", RN__TFS_REGRESS_METHOD, &err);
    rn_exchange_fail(x, err.status, "%s", err.message);
}
