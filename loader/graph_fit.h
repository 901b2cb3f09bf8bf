/* Crop, resize and order of a signature's numeric input. */
#ifndef RN_LOADER_GRAPH_FIT_H
#define RN_LOADER_GRAPH_FIT_H

#include "loader/fold.h"

/* Handlers' parts for an activation as input 0: they write output 0. The slice leaves every channel. */
rn_status rn__fit_strided_slice(const rn__op_call *call, const rn__slice_spec *spec);
rn_status rn__fit_slice(const rn__op_call *call);
rn_status rn__fit_resize(const rn__op_call *call);

/* For an input [-1,c,h,w], whose plan tensor has these as its h, w and c: the operation that puts channels last, and the activation. */
rn_status rn__fit_channels_last(rn__import *import, const char *name, rn__value *out, rn_error *err);

#endif
