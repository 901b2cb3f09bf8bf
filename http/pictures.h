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

/* pictures_output.c */
void rn__pictures_write(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out);

#endif
