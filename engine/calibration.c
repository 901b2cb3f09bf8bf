/* A histogram for every tensor whose bins are the leading bits of a float: sign, exponent and six bits of the mantissa. So bins are 1.6 % wide
 * at any magnitude, no range has to be known beforehand, and one pass over the inputs is enough. */
#include "engine/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DROPPED_BITS = 17, BINS = 1 << (32 - DROPPED_BITS), POSITIVE_BINS = BINS / 2, FINITE_BINS = 0x7f800000 >> DROPPED_BITS };

typedef struct {
    uint64_t total;
    float low, high;     /* of all finite values and zero */
    uint64_t bins[BINS]; /* of positive values by rising magnitude, then of negative ones */
} histogram;

struct rn_calibration {
    int32_t tensor_count;
    histogram **histograms; /* [tensor]; NULL for what is not F32 */
};

rn_status rn_calibration_create(const rn_plan *plan, rn_calibration **out, rn_error *err)
{
    rn_calibration *c = calloc(1, sizeof *c);
    histogram **histograms = calloc((size_t)plan->tensor_count + 1, sizeof(histogram *));
    if (!c || !histograms) {
        free(c);
        free(histograms);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to calibrate %d tensors", plan->tensor_count);
    }
    *c = (rn_calibration){plan->tensor_count, histograms};
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        if (plan->tensors[t].dtype != RN_DTYPE_F32) continue;
        histograms[t] = calloc(1, sizeof(histogram));
        if (histograms[t]) continue;
        rn_calibration_destroy(c);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to calibrate tensor %s", plan->tensors[t].name);
    }
    *out = c;
    return RN_STATUS_OK;
}

void rn_calibration_destroy(rn_calibration *c)
{
    if (!c) return;
    for (int32_t t = 0; t < c->tensor_count; t++) free(c->histograms[t]);
    free(c->histograms);
    free(c);
}

void rn_calibration_count(void *calibration, int32_t tensor, const float *values, int64_t count)
{
    histogram *h = ((rn_calibration *)calibration)->histograms[tensor];
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        const uint32_t bin = bits >> DROPPED_BITS;
        const bool finite = (bin & (POSITIVE_BINS - 1)) < FINITE_BINS;
        if (!finite) continue;
        h->bins[bin]++;
        h->total++;
        h->low = values[i] < h->low ? values[i] : h->low;
        h->high = values[i] > h->high ? values[i] : h->high;
    }
}

/* The largest magnitude of the bin, within a factor of 1 + 2^-6. */
static float edge(uint32_t bin)
{
    const uint32_t bits = (bin << DROPPED_BITS) | ((1u << DROPPED_BITS) - 1);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The magnitude, a bin's edge, that all values on one side of zero stay below but `spare` of them; 0 when there are no others. */
static float reach(const uint64_t bins[POSITIVE_BINS], uint64_t spare)
{
    uint64_t beyond = 0;
    for (int32_t bin = POSITIVE_BINS - 1; bin > 0; bin--) {
        beyond += bins[bin];
        if (beyond > spare) return edge((uint32_t)bin);
    }
    return 0;
}

void rn_calibration_ranges(const rn_calibration *c, double share, rn_value_range *ranges)
{
    for (int32_t t = 0; t < c->tensor_count; t++) {
        const histogram *h = c->histograms[t];
        ranges[t] = (rn_value_range){0, 0};
        if (!h) continue;
        const uint64_t spare = (uint64_t)floor((double)h->total * (1 - share));
        ranges[t].low = fmaxf(-reach(h->bins + POSITIVE_BINS, spare), h->low);
        ranges[t].high = fminf(reach(h->bins, spare), h->high);
    }
}
