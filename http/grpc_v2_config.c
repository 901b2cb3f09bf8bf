/* ModelConfig of GRPCInferenceService. */
#include "http/grpc_v2.h"
#include "http/v2_config.h"

/* Parts of an answer, which point to each other and must stay where they are. */
typedef struct {
    V2__ModelConfigResponse response;
    V2__ModelConfig config;
    V2__ModelVersionPolicy policy;
    V2__ModelVersionPolicy__Latest latest;
    V2__ModelVersionPolicy__All all;
    V2__ModelVersionPolicy__Specific specific;
    V2__ModelInput input, *inputs[1];
    V2__ModelOutput output[RN_PLAN_MAX_OUTPUTS], *outputs[RN_PLAN_MAX_OUTPUTS];
    V2__ModelInstanceGroup group, *groups[1];
    V2__ModelDynamicBatching batching;
    V2__ModelTransactionPolicy transactions;
} answer;

enum { FORMAT_NHWC = 1, KIND_GPU = 1, KIND_CPU = 2 }; /* numbers of model_config.proto */

static void set_tensors(answer *a, const rn_signature *signature)
{
    v2__model_input__init(&a->input);
    a->input.name = rn__grpc_unconst(signature->input.name);
    a->input.data_type = rn__v2_config_type_of(&signature->input).number;
    if (rn__v2_config_is_nhwc(&signature->input)) a->input.format = FORMAT_NHWC;
    a->input.n_dims = (size_t)signature->input.rank - 1;
    a->input.dims = (int64_t *)signature->input.dims + 1;
    a->inputs[0] = &a->input;
    for (int32_t i = 0; i < signature->output_count; i++) {
        const rn_tensor_spec *spec = &signature->outputs[i];
        v2__model_output__init(&a->output[i]);
        a->output[i].name = rn__grpc_unconst(spec->name);
        a->output[i].data_type = rn__v2_config_type_of(spec).number;
        a->output[i].n_dims = (size_t)spec->rank - 1;
        a->output[i].dims = (int64_t *)spec->dims + 1;
        a->outputs[i] = &a->output[i];
    }
    a->config.n_input = 1;
    a->config.input = a->inputs;
    a->config.n_output = (size_t)signature->output_count;
    a->config.output = a->outputs;
}

static void set_policy(answer *a, const rn_version_policy *policy)
{
    v2__model_version_policy__init(&a->policy);
    a->config.version_policy = &a->policy;
    switch (policy->kind) {
    case RN_VERSIONS_LATEST:
        v2__model_version_policy__latest__init(&a->latest);
        a->latest.num_versions = (uint32_t)policy->latest_count;
        a->policy.policy_choice_case = V2__MODEL_VERSION_POLICY__POLICY_CHOICE_LATEST;
        a->policy.latest = &a->latest;
        return;
    case RN_VERSIONS_ALL:
        v2__model_version_policy__all__init(&a->all);
        a->policy.policy_choice_case = V2__MODEL_VERSION_POLICY__POLICY_CHOICE_ALL;
        a->policy.all = &a->all;
        return;
    case RN_VERSIONS_SPECIFIC:
        v2__model_version_policy__specific__init(&a->specific);
        a->specific.n_versions = (size_t)policy->specific_count;
        a->specific.versions = policy->specific;
        a->policy.policy_choice_case = V2__MODEL_VERSION_POLICY__POLICY_CHOICE_SPECIFIC;
        a->policy.specific = &a->specific;
        return;
    }
}

static void set_scheduling(answer *a, const rn_model_scheduling *scheduling)
{
    v2__model_instance_group__init(&a->group);
    a->group.name = a->config.name;
    a->group.kind = strcmp(scheduling->backend, "cpu") == 0 ? KIND_CPU : KIND_GPU;
    a->group.count = scheduling->device_count;
    a->groups[0] = &a->group;
    a->config.n_instance_group = 1;
    a->config.instance_group = a->groups;
    a->config.max_batch_size = scheduling->max_batch;
    v2__model_transaction_policy__init(&a->transactions);
    a->config.model_transaction_policy = &a->transactions;
    if (scheduling->one_at_a_time) return;
    v2__model_dynamic_batching__init(&a->batching);
    a->batching.max_queue_delay_microseconds = (uint64_t)scheduling->gather_us;
    a->config.scheduling_choice_case = V2__MODEL_CONFIG__SCHEDULING_CHOICE_DYNAMIC_BATCHING;
    a->config.dynamic_batching = &a->batching;
}

void rn__grpc_v2_config(rn__grpc_call *call)
{
    const V2__ModelRequest *request = (const V2__ModelRequest *)call->request;
    int64_t version = RN_LATEST_VERSION;
    rn__v2_config config;
    rn_error err;
    rn_status status = rn__grpc_v2_version(request->version, &version, &err);
    const rn_text no_label = {NULL, 0};
    if (status == RN_STATUS_OK)
        status = rn__v2_config_open(call->service, rn__grpc_text(request->name), version, no_label, "", &config, &err);
    if (status != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    call->asked_model = rn_model_metrics_of(config.model);
    answer a = {.response = V2__MODEL_CONFIG_RESPONSE__INIT, .config = V2__MODEL_CONFIG__INIT};
    a.response.config = &a.config;
    a.config.name = config.config.name;
    a.config.platform = rn__grpc_unconst(RN__V2_PLATFORM);
    a.config.backend = rn__grpc_unconst(RN__V2_BACKEND);
    set_tensors(&a, config.signature);
    set_policy(&a, &config.config.policy);
    set_scheduling(&a, &config.scheduling);
    rn__grpc_answer(call, &a.response.base);
    rn__v2_config_close(&config);
}
