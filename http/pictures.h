/* Pictures as request bodies: POST /v1/models/NAME[/versions/N|/labels/L]:predict with Content-Type image/jpeg (png, gif, bmp, webp) or
 * multipart/form-data, and ?topk=K (5 without it).
 *
 * The model answers with its first signature that takes encoded pictures. One picture gives its K best classes, best first,
 *     {"predictions": [{"label": "Bag", "index": 8, "probability": 0.99}, ...]}
 * and multipart/form-data a list of such lists, one for each part, in their order. "label" is left out by models without labels, and
 * "probability" is called "score" when the model's numbers are not probabilities.
 */
#ifndef RN_HTTP_PICTURES_H
#define RN_HTTP_PICTURES_H

#include "http/exchange.h"

typedef enum { RN__NO_PICTURE, RN__ONE_PICTURE, RN__PICTURE_FORM } rn__picture_form;

/* What the Content-Type announces. */
rn__picture_form rn__pictures_announced(const rn_exchange *x);

/* 415 and true when the Content-Type announces one picture of a kind that is not read. */
bool rn__pictures_refuse_type(rn_exchange *x);
/* ?topk=K, 5 without it. */
rn_status rn__pictures_top_k(const rn_exchange *x, int64_t *out, rn_error *err);
/* The request for the announced pictures, which lie in the exchange's body or in *inflated (the caller frees it). explained: as
 * rn_request_create_explained makes it. */
rn_status rn__pictures_read(rn_exchange *x, rn__picture_form form, rn_model *model, bool explained, char **inflated, rn_request **out, rn_error *err);

/* pictures_output.c: the answer, and its only member, into an object that is open. */
void rn__pictures_write(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out);
void rn__pictures_write_member(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out);

#endif
