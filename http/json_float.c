/* Floats as TensorFlow Serving prints them: not the shortest text that reads back, but the shorter of two printf forms. */
#include "http/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

size_t rn_json_print_float(float value, char *out)
{
    if (isnan(value)) return (size_t)sprintf(out, "NaN");
    if (isinf(value)) return (size_t)sprintf(out, value < 0 ? "-Infinity" : "Infinity");
    int bytes = snprintf(out, RN_JSON_FLOAT_BYTES, "%g", (double)value);
    if (strtof(out, NULL) != value) bytes = snprintf(out, RN_JSON_FLOAT_BYTES, "%.9g", (double)value);
    if (!strpbrk(out, ".e")) bytes += sprintf(out + bytes, ".0");
    return (size_t)bytes;
}
