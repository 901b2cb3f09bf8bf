/* resnet-convert: SavedModel -> model.safetensors, what a model holds, in words, and whether a device gives the answers that it should.
 *
 * Converting is loading, writing and loading again: the file that is reported has been opened and held against its checksum.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/quantize.h"
#include "kernels/base/version.h"
#include "loader/model_file.h"
#include "loader/repository.h"
#include "tools/convert/golden.h"
#include "tools/convert/image_input.h"
#include "tools/convert/quantize.h"
#include "tools/convert/show.h"
#include "tools/convert/verify.h"
#include "tools/convert/warmup_copy.h"

enum {
    EXIT_USAGE = 2,
    EXIT_BAD_MODEL = 65,
    EXIT_NOT_FOUND = 66,
    EXIT_UNREACHABLE = 69,
    EXIT_DEFECT = 70,
    EXIT_DEVICE = 70,
    EXIT_MEMORY = 71,
    EXIT_PERMISSION = 77
};

static const char usage[] =
    "usage: resnet-convert SAVED_MODEL_DIR OUT     convert; OUT is a file, or a directory: then OUT/model.safetensors\n"
    "       resnet-convert show PATH [--ops]       what a SavedModel or a converted file holds, and how it is served\n"
    "       resnet-convert verify PATH             run recorded answers on a device: worst errors\n"
    "\n"
    "  --dtype=fp32|fp16|bf16|int8   fp32 as it is (default); fp16, bf16: filters are stored in 16 bits; int8: filters and activations of the\n"
    "                         convolutions become bytes\n"
    "  --calibration=DIR      with int8: pictures, or .npy files of float32 rows, by which the ranges of activations are set; a few\n"
    "                         hundred that are like those to be served\n"
    "  --min_agreement=99     with int8: least percentage of the calibration inputs whose top class stays that of f32, else nothing is written\n"
    "  --golden=1             made-up inputs of which the answers are recorded for each signature; servers run them before they serve\n"
    "  --image_input=caffe|tf|torch|unit --labels=FILE [--resize=256 --crop=224]\n"
    "                         for a model that takes numbers: adds the signature serving_preprocess, which takes picture files\n"
    "  --device=cpu, --precision=...   for verify: as resnetd's flags\n"
    "  --ops      list every operation\n"
    "  --quiet    no progress bar; there is none either when standard error is not a terminal\n"
    "  --help, --version\n"
    "\n"
    "exit status: 0 done, 2 usage, 65 bad or unsupported model or answers that differ, 66 not found, 69 storage failed, 70 device,\n"
    "71 out of memory, 77 permission denied\n";

typedef struct options {
    bool ops, quiet, int8;
    rn_dtype filters; /* how they are stored */
    int32_t golden;
    rn_image_input image; /* mode NULL: none */
    const char *device, *precision;
    const char *calibration;
    double min_agreement; /* percent; negative: not given */
} options;

static const double DEFAULT_MIN_AGREEMENT = 99;

/* ---- what went wrong ---- */

static int exit_code(rn_status status)
{
    switch (status) {
    case RN_STATUS_OK:
        return 0;
    case RN_STATUS_INVALID_ARGUMENT:
    case RN_STATUS_UNSUPPORTED:
    case RN_STATUS_DATA_LOSS:
    case RN_STATUS_FAILED_PRECONDITION: /* a recorded answer is another */
        return EXIT_BAD_MODEL;
    case RN_STATUS_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case RN_STATUS_UNAVAILABLE:
        return EXIT_UNREACHABLE;
    case RN_STATUS_DEVICE_FAILED:
    case RN_STATUS_DEVICE_LOST:
        return EXIT_DEVICE;
    case RN_STATUS_OUT_OF_MEMORY:
        return EXIT_MEMORY;
    case RN_STATUS_PERMISSION_DENIED:
        return EXIT_PERMISSION;
    default:
        return EXIT_DEFECT;
    }
}

static int usage_error(const char *problem)
{
    fprintf(stderr, "resnet-convert: %s\n%s", problem, usage);
    return EXIT_USAGE;
}

/* ---- progress ---- */

enum { BAR_WIDTH = 30 };

typedef struct progress_bar {
    char stage[40];
    int shown; /* percent, or -1 */
} progress_bar;

static void draw_bar(void *context, const char *stage, uint64_t done, uint64_t total)
{
    progress_bar *bar = context;
    const int percent = total ? (int)((double)done / (double)total * 100) : 0;
    if (percent == bar->shown && strncmp(stage, bar->stage, sizeof bar->stage - 1) == 0) return;
    bar->shown = percent;
    snprintf(bar->stage, sizeof bar->stage, "%s", stage);
    fprintf(stderr, "\r[%-*.*s] %3d%%  %s\033[K", BAR_WIDTH, percent * BAR_WIDTH / 100, "##############################", percent, stage);
    fflush(stderr);
}

static void clear_bar(const progress_bar *bar)
{
    if (bar->shown >= 0) fputs("\r\033[K", stderr);
}

/* ---- convert ---- */

/* `path` and its parents, as far as they are missing. A failure shows when the file is written. */
static void make_folders(const char *path)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0777);
        *slash = '/';
    }
}

/* OUT as the name of a file. */
static void out_file(const char *out, char path[4096])
{
    struct stat info;
    const size_t length = strlen(out);
    const bool slash = length > 0 && out[length - 1] == '/';
    if (slash) make_folders(out);
    const bool folder = slash || (stat(out, &info) == 0 && S_ISDIR(info.st_mode));
    snprintf(path, 4096, "%s%s%s", out, folder && !slash ? "/" : "", folder ? RN_MODEL_FILE_NAME : "");
}

static rn_status quantize(rn_plan *plan, const options *options, const rn_progress *progress, rn_error *err)
{
    rn_agreement agreement;
    RN_TRY(rn_quantize_by_folder(plan, options->calibration, progress, &agreement, err));
    const double share = 100 * (double)agreement.same_top1 / (double)agreement.rows;
    if (share < options->min_agreement) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "int8 keeps the top class of %" PRId64 " of %" PRId64 " calibration inputs, %.2f %%, expected at least %g %% (--min_agreement); "
                       "error of the logits %.3f on average, %.3f at worst. Nothing was written",
                       agreement.same_top1, agreement.rows, share, options->min_agreement, agreement.mean_error, agreement.worst_error);
    }
    if (progress) clear_bar(progress->context);
    printf("int8: the top class is that of f32 for %" PRId64 " of %" PRId64 " calibration inputs (%.2f %%); relative error of the logits %.4f on "
           "average, %.4f at worst\n",
           agreement.same_top1, agreement.rows, share, agreement.mean_error, agreement.worst_error);
    return RN_STATUS_OK;
}

/* Rounds the filters to 16 bits by writing and reading them, so that what is recorded is what the file will give. */
static rn_status round_filters(rn_plan **plan, const char *in, const options *options, const char *path, rn_error *err)
{
    rn_plan *rounded;
    RN_TRY(rn_model_file_write_as(*plan, in, options->filters, path, err));
    RN_TRY(rn_model_file_load(path, false, &rounded, err));
    rn_plan_destroy(*plan);
    *plan = rounded;
    return RN_STATUS_OK;
}

static rn_status convert(const char *in, const char *out, const options *options, const rn_progress *progress, rn_error *err)
{
    const double start = rn_clock_seconds();
    char path[4096];
    struct stat info;
    rn_plan *plan = NULL, *written = NULL;
    rn_status status = rn_saved_model_load(in, progress, &plan, err);
    if (status != RN_STATUS_OK) return status;
    if (options->image.mode) RN_TRY_CLEANUP(status, rn_add_image_input(plan, &options->image, err));
    out_file(out, path);
    if (options->filters != RN_DTYPE_F32) RN_TRY_CLEANUP(status, round_filters(&plan, in, options, path, err));
    RN_TRY_CLEANUP(status, rn_record_goldens(plan, options->golden, err));
    if (options->int8) RN_TRY_CLEANUP(status, quantize(plan, options, progress, err));
    if (options->int8) RN_TRY_CLEANUP(status, rn_measure_goldens(plan, err));
    RN_TRY_CLEANUP(status, rn_model_file_write_as(plan, in, options->filters, path, err));
    rn_plan_destroy(plan); /* first: both at once would be the peak */
    plan = NULL;
    RN_TRY_CLEANUP(status, rn_model_file_load(path, true, &written, err));
    RN_TRY_CLEANUP(status, rn_copy_warmup(in, path, err));
    printf("%s: %s, %d signature%s, %.1f MB, %.2f s\n", path, written->architecture, written->signature_count,
           written->signature_count == 1 ? "" : "s", stat(path, &info) == 0 ? (double)info.st_size / 1e6 : 0.0, rn_clock_seconds() - start);

cleanup:
    rn_plan_destroy(plan);
    rn_plan_destroy(written);
    return status;
}

static rn_status show(const char *path, const options *options, const rn_progress *progress, rn_error *err)
{
    rn_plan *plan = NULL;
    RN_TRY(rn_repository_load(path, progress, &plan, err));
    rn_show_plan(plan, path, options->ops);
    rn_plan_destroy(plan);
    return RN_STATUS_OK;
}

static rn_status verify(const char *path, const options *options, const rn_progress *progress, rn_error *err)
{
    rn_plan *plan = NULL;
    RN_TRY(rn_repository_load(path, progress, &plan, err));
    if (progress) clear_bar(progress->context);
    return rn_verify_plan(plan, path, options->device, options->precision, err);
}

/* ---- the command line ---- */

enum { OPTION_HELP = 256, OPTION_VERSION, OPTION_OPS, OPTION_QUIET, OPTION_DTYPE, OPTION_CALIBRATION, OPTION_MIN_AGREEMENT,
       OPTION_GOLDEN, OPTION_IMAGE_INPUT, OPTION_LABELS, OPTION_RESIZE, OPTION_CROP, OPTION_DEVICE, OPTION_PRECISION };

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"ops", no_argument, NULL, OPTION_OPS},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"dtype", required_argument, NULL, OPTION_DTYPE},
    {"calibration", required_argument, NULL, OPTION_CALIBRATION},
    {"min_agreement", required_argument, NULL, OPTION_MIN_AGREEMENT},
    {"golden", required_argument, NULL, OPTION_GOLDEN},
    {"image_input", required_argument, NULL, OPTION_IMAGE_INPUT},
    {"labels", required_argument, NULL, OPTION_LABELS},
    {"resize", required_argument, NULL, OPTION_RESIZE},
    {"crop", required_argument, NULL, OPTION_CROP},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"precision", required_argument, NULL, OPTION_PRECISION},
    {NULL, 0, NULL, 0},
};

static bool read_dtype(const char *text, options *out)
{
    static const struct {
        const char *name;
        rn_dtype filters;
        bool int8;
    } known[] = {{"fp32", RN_DTYPE_F32, false}, {"f32", RN_DTYPE_F32, false}, {"fp16", RN_DTYPE_F16, false}, {"bf16", RN_DTYPE_BF16, false},
                 {"int8", RN_DTYPE_F32, true}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, text) != 0) continue;
        out->filters = known[i].filters;
        out->int8 = known[i].int8;
        return true;
    }
    return false;
}

static bool read_number(const char *text, int32_t low, int32_t high, int32_t *out)
{
    char *end;
    const long value = strtol(text, &end, 10);
    *out = (int32_t)value;
    return end != text && *end == '\0' && value >= low && value <= high;
}

/* False when the process is to end with *exit_status. */
static bool parse_options(int argc, char **argv, options *out, int *exit_status)
{
    char *end;
    *out = (options){.quiet = !isatty(STDERR_FILENO), .min_agreement = -1, .golden = 1, .device = "cpu"};
    *exit_status = 0;
    for (int option; (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        switch (option) {
        case OPTION_OPS:
            out->ops = true;
            break;
        case OPTION_QUIET:
            out->quiet = true;
            break;
        case OPTION_DTYPE:
            if (read_dtype(optarg, out)) break;
            *exit_status = usage_error("--dtype: expected fp32, fp16, bf16 or int8");
            return false;
        case OPTION_GOLDEN:
            if (read_number(optarg, 0, 1000, &out->golden)) break;
            *exit_status = usage_error("--golden: expected a number from 0 to 1000");
            return false;
        case OPTION_RESIZE:
            if (read_number(optarg, 1, RN_PLAN_MAX_SIDE, &out->image.resize)) break;
            *exit_status = usage_error("--resize: expected a number of pixels");
            return false;
        case OPTION_CROP:
            if (read_number(optarg, 1, RN_PLAN_MAX_SIDE, &out->image.crop)) break;
            *exit_status = usage_error("--crop: expected a number of pixels");
            return false;
        case OPTION_IMAGE_INPUT:
            out->image.mode = optarg;
            if (rn_image_input_mode(optarg)) break;
            *exit_status = usage_error("--image_input: expected caffe, tf, torch or unit");
            return false;
        case OPTION_LABELS:
            out->image.labels = optarg;
            break;
        case OPTION_DEVICE:
            out->device = optarg;
            break;
        case OPTION_PRECISION:
            out->precision = optarg;
            break;
        case OPTION_CALIBRATION:
            out->calibration = optarg;
            break;
        case OPTION_MIN_AGREEMENT:
            out->min_agreement = strtod(optarg, &end);
            if (end != optarg && *end == '\0' && out->min_agreement >= 0 && out->min_agreement <= 100) break;
            *exit_status = usage_error("--min_agreement: expected a percentage from 0 to 100");
            return false;
        case 'h':
        case OPTION_HELP:
            fputs(usage, stdout);
            return false;
        case OPTION_VERSION:
            printf("resnet-convert %s (%s)\n", rn_version, rn_commit);
            return false;
        default:
            *exit_status = EXIT_USAGE;
            return false; /* getopt has named the option */
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    options options;
    int exit_status;
    if (!parse_options(argc, argv, &options, &exit_status)) return exit_status;
    if (argc - optind != 2) return usage_error(argc == optind ? "a model is needed" : "expected two arguments");
    const char *first = argv[optind], *second = argv[optind + 1];
    const bool showing = strcmp(first, "show") == 0, verifying = strcmp(first, "verify") == 0, converting = !showing && !verifying;
    if (options.ops && !showing) return usage_error("--ops belongs to show");
    if (options.int8 != (options.calibration != NULL)) return usage_error("--dtype=int8 and --calibration=DIR belong together");
    if (!options.int8 && options.min_agreement >= 0) return usage_error("--min_agreement belongs to --dtype=int8");
    if ((options.int8 || options.filters != RN_DTYPE_F32) && !converting) return usage_error("--dtype belongs to converting");
    if ((options.image.mode != NULL) != (options.image.labels != NULL)) return usage_error("--image_input and --labels=FILE belong together");
    if (options.image.mode && !converting) return usage_error("--image_input belongs to converting");
    if ((options.image.resize != 0) != (options.image.crop != 0) || options.image.crop > options.image.resize || (options.image.resize && !options.image.mode))
        return usage_error("--resize and --crop belong together and to --image_input, and the crop lies inside");
    if (options.min_agreement < 0) options.min_agreement = DEFAULT_MIN_AGREEMENT;

    rn_error err = {0};
    progress_bar bar = {.shown = -1};
    const rn_progress progress = {draw_bar, &bar}, *shown = options.quiet ? NULL : &progress;
    const rn_status status = showing     ? show(second, &options, shown, &err)
                             : verifying ? verify(second, &options, shown, &err)
                                         : convert(first, second, &options, shown, &err);
    clear_bar(&bar);
    if (status != RN_STATUS_OK) fprintf(stderr, "resnet-convert: %s\n", err.message);
    return exit_code(status);
}
