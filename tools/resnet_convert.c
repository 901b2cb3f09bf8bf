/* resnet-convert: SavedModel -> model.safetensors, and what a model holds, in words.
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
#include <time.h>
#include <unistd.h>

#include "engine/quantize.h"
#include "kernels/base/version.h"
#include "loader/model_file.h"
#include "loader/repository.h"
#include "tools/convert/quantize.h"

enum {
    EXIT_USAGE = 2,
    EXIT_BAD_MODEL = 65,
    EXIT_NOT_FOUND = 66,
    EXIT_UNREACHABLE = 69,
    EXIT_DEFECT = 70,
    EXIT_MEMORY = 71,
    EXIT_PERMISSION = 77
};

static const char usage[] =
    "usage: resnet-convert SAVED_MODEL_DIR OUT     convert; OUT is a file, or a directory: then OUT/model.safetensors\n"
    "       resnet-convert show PATH [--ops]       what a SavedModel or a converted file holds, and how it is served\n"
    "\n"
    "  --dtype=f32|int8       f32 as it is (default); int8: filters and activations of the convolutions become bytes\n"
    "  --calibration=DIR      with int8: pictures, or .npy files of float32 rows, by which the ranges of activations are set; a few\n"
    "                         hundred that are like those to be served\n"
    "  --min_agreement=99     with int8: least percentage of the calibration inputs whose top class stays that of f32, else nothing is written\n"
    "  --ops      list every operation\n"
    "  --quiet    no progress bar; there is none either when standard error is not a terminal\n"
    "  --help, --version\n"
    "\n"
    "exit status: 0 done, 2 usage, 65 bad or unsupported model, 66 not found, 69 storage failed, 71 out of memory, 77 permission denied\n";

typedef struct options {
    bool ops, quiet, int8;
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
        return EXIT_BAD_MODEL;
    case RN_STATUS_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case RN_STATUS_UNAVAILABLE:
        return EXIT_UNREACHABLE;
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

/* ---- show ---- */

static void print_spec(const char *role, const rn_tensor_spec *spec)
{
    char shape[128];
    int used = snprintf(shape, sizeof shape, "[");
    for (int32_t i = 0; i < spec->rank; i++) {
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%" PRId64, i ? "," : "", spec->dims[i]);
    }
    printf("  %-10s %-20s %-7s %s]%s\n", role, spec->name, rn_dtype_tf_name(spec->dtype), shape, spec->labels ? "  labels" : "");
}

static const char *const crop_words[] = {
    [RN_CROP_NONE] = "not cropped",
    [RN_CROP_CENTER_SQUARE_ROUND_UP] = "centre square at offset (n - side + 1) / 2",
    [RN_CROP_CENTER_SQUARE_ROUND_DOWN] = "centre square at offset (n - side) / 2",
};
static const char *const method_words[] = {
    [RN_RESIZE_BILINEAR] = "bilinear", [RN_RESIZE_NEAREST] = "nearest pixel", [RN_RESIZE_BICUBIC] = "bicubic", [RN_RESIZE_AREA] = "area mean"};
static const char *const grid_words[] = {
    [RN_GRID_HALF_PIXEL] = "", [RN_GRID_CORNER] = " on TensorFlow 1's grid", [RN_GRID_ALIGNED] = " with aligned corners"};

static void print_front_end(const rn_image_op *image)
{
    printf("  front end  JPEG, PNG, GIF, BMP or WebP of any size, ");
    if (image->decode_channels)
        printf("decoded to %d channel%s", image->decode_channels, image->decode_channels == 1 ? "" : "s");
    else
        printf("which must have %d channel%s", image->c, image->c == 1 ? "" : "s");
    printf("; %s; %s%s to ", crop_words[image->crop], method_words[image->method], grid_words[image->grid]);
    if (image->shorter)
        printf("%d at the shorter side, of that the centre, ", image->shorter);
    else if (image->full_h != image->h || image->full_w != image->w)
        printf("%d x %d, of that the centre, ", image->full_w, image->full_h);
    printf("%d x %d", image->w, image->h);
    printf("%s%s; as %s\n", image->reverse ? "; blue first" : "", image->clip ? "; clipped to 0..255" : "",
           image->as_float ? "floats" : "bytes, truncated");
}

static void print_signature(const rn_plan *plan, const rn_signature *signature)
{
    printf("\nsignature %s\n", signature->name);
    print_spec("input", &signature->input);
    if (signature->image_op != RN_NONE) print_front_end(&plan->ops[signature->image_op].u.image);
    for (int32_t i = 0; i < signature->output_count; i++) print_spec("output", &signature->outputs[i]);
    printf("  %-10s %d operations, %.3f G multiply-accumulates a picture\n", "work", signature->op_count,
           (double)rn_plan_multiply_count(plan, signature) / 1e9);
}

static void print_labels(const rn_plan *plan)
{
    enum { SHOWN = 10 };
    printf("\nlabels       %d", plan->label_count);
    for (int32_t i = 0; i < plan->label_count && i < SHOWN; i++) printf("%s %s", i ? "," : ":", plan->labels[i]);
    printf("%s\n", plan->label_count > SHOWN ? ", ..." : "");
}

static void print_window(int32_t r, int32_t s, int32_t stride_h, int32_t stride_w)
{
    printf(" %dx%d", r, s);
    if (stride_h != 1 || stride_w != 1) printf(" stride %d,%d", stride_h, stride_w);
}

static void print_padding(int32_t top, int32_t left, int32_t bottom, int32_t right)
{
    if (top || left || bottom || right) printf(" pad %d,%d,%d,%d", top, left, bottom, right);
}

static void print_if(bool condition, const char *words)
{
    if (condition) printf(" %s", words);
}

/* What tells one operation from others of its kind. */
static void print_details(const rn_plan *plan, const rn_op *op)
{
    const rn_conv2d_op *conv = &op->u.conv2d;
    const rn_scale_shift_op *affine = &op->u.scale_shift;
    const rn_max_pool_op *pool = &op->u.max_pool;
    switch (op->kind) {
    case RN_OP_CONV2D:
        print_if(plan->weights[conv->filter].dtype == RN_DTYPE_I8, "int8");
        print_window(conv->r, conv->s, conv->stride_h, conv->stride_w);
        print_padding(conv->pad_top, conv->pad_left, conv->pad_bottom, conv->pad_right);
        if (conv->groups > 1) printf(" groups %d", conv->groups);
        print_if(conv->bias != RN_NONE, "bias");
        print_if(op->inputs[1] != RN_NONE, "residual");
        print_if(conv->relu, "relu");
        print_if(op->outputs[1] != RN_NONE, "and relu(scale, shift)");
        break;
    case RN_OP_SCALE_SHIFT:
        print_if(affine->scale != RN_NONE, "scale");
        print_if(affine->shift != RN_NONE, "shift");
        print_if(affine->relu, "relu");
        break;
    case RN_OP_ADD:
        print_if(op->u.add.relu, "relu");
        break;
    case RN_OP_MAX_POOL:
        print_window(pool->r, pool->s, pool->stride_h, pool->stride_w);
        print_padding(pool->pad_top, pool->pad_left, pool->pad_bottom, pool->pad_right);
        print_if(pool->pad_zero, "with zeros");
        break;
    case RN_OP_DENSE:
        print_if(op->u.dense.bias != RN_NONE, "bias");
        print_if(op->u.dense.relu, "relu");
        break;
    case RN_OP_TOP_K:
        printf(" of %d", plan->tensors[op->inputs[0]].c);
        break;
    default:
        break;
    }
}

static void print_ops(const rn_plan *plan)
{
    int name_width = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        const int length = (int)strlen(plan->ops[i].name);
        if (length > name_width) name_width = length;
    }
    printf("\n%5s  %-20s %-12s %s\n", "", "operation", "output", "made from");
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        const rn_plan_tensor *y = &plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
        char shape[48];
        snprintf(shape, sizeof shape, "%dx%dx%d", y->h, y->w, y->c);
        printf("%5d  %-20s %-12s %-*s", i, rn_op_kind_name(op->kind), shape, name_width, op->name);
        print_details(plan, op);
        if (y->step != 0) printf(" -> bytes, step %.4g zero %d", (double)y->step, y->zero);
        putchar('\n');
    }
}

/* A SavedModel says nothing of its making; a converted file does. */
static void print_origin(const char *path)
{
    rn_model_file_origin origin;
    char file[4096];
    snprintf(file, sizeof file, "%s/" RN_MODEL_FILE_NAME, path);
    if (rn_model_file_read_origin(path, &origin, NULL) != RN_STATUS_OK && rn_model_file_read_origin(file, &origin, NULL) != RN_STATUS_OK)
        return;
    printf("converted    by %s from %s\nSHA-256      %s\n", origin.converter, origin.source, origin.sha256);
}

static void print_plan(const rn_plan *plan, const char *path, const options *options)
{
    const int64_t parameters = rn_plan_parameter_count(plan);
    printf("%s\n", plan->architecture);
    print_origin(path);
    printf("parameters   %.3f million\noperations   %d%s\n", (double)parameters / 1e6, plan->op_count,
           rn_plan_is_quantized(plan) ? ", quantised: convolutions run on bytes with int8 filters" : "");
    for (int32_t i = 0; i < plan->signature_count; i++) print_signature(plan, &plan->signatures[i]);
    if (plan->label_count > 0) print_labels(plan);
    if (options->ops) print_ops(plan);
}

static rn_status show(const char *path, const options *options, const rn_progress *progress, rn_error *err)
{
    rn_plan *plan = NULL;
    RN_TRY(rn_repository_load(path, progress, &plan, err));
    print_plan(plan, path, options);
    rn_plan_destroy(plan);
    return RN_STATUS_OK;
}

/* ---- convert ---- */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

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

static rn_status convert(const char *in, const char *out, const options *options, const rn_progress *progress, rn_error *err)
{
    const double start = seconds_now();
    char path[4096];
    struct stat info;
    rn_plan *plan = NULL, *written = NULL;
    rn_status status = rn_saved_model_load(in, progress, &plan, err);
    if (status != RN_STATUS_OK) return status;
    out_file(out, path);
    if (options->int8) RN_TRY_CLEANUP(status, quantize(plan, options, progress, err));
    RN_TRY_CLEANUP(status, rn_model_file_write(plan, in, path, err));
    RN_TRY_CLEANUP(status, rn_model_file_load(path, true, &written, err));
    printf("%s: %s, %d signature%s, %.1f MB, %.2f s\n", path, written->architecture, written->signature_count,
           written->signature_count == 1 ? "" : "s", stat(path, &info) == 0 ? (double)info.st_size / 1e6 : 0.0, seconds_now() - start);

cleanup:
    rn_plan_destroy(plan);
    rn_plan_destroy(written);
    return status;
}

/* ---- the command line ---- */

enum { OPTION_HELP = 256, OPTION_VERSION, OPTION_OPS, OPTION_QUIET, OPTION_DTYPE, OPTION_CALIBRATION, OPTION_MIN_AGREEMENT };

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"ops", no_argument, NULL, OPTION_OPS},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"dtype", required_argument, NULL, OPTION_DTYPE},
    {"calibration", required_argument, NULL, OPTION_CALIBRATION},
    {"min_agreement", required_argument, NULL, OPTION_MIN_AGREEMENT},
    {NULL, 0, NULL, 0},
};

/* False when the process is to end with *exit_status. */
static bool parse_options(int argc, char **argv, options *out, int *exit_status)
{
    char *end;
    *out = (options){.quiet = !isatty(STDERR_FILENO), .min_agreement = -1};
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
            out->int8 = strcmp(optarg, "int8") == 0;
            if (out->int8 || strcmp(optarg, "f32") == 0) break;
            *exit_status = usage_error("--dtype: expected f32 or int8");
            return false;
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
    const bool showing = strcmp(first, "show") == 0;
    if (options.ops && !showing) return usage_error("--ops belongs to show");
    if (options.int8 != (options.calibration != NULL)) return usage_error("--dtype=int8 and --calibration=DIR belong together");
    if (!options.int8 && options.min_agreement >= 0) return usage_error("--min_agreement belongs to --dtype=int8");
    if (options.int8 && showing) return usage_error("--dtype belongs to converting");
    if (options.min_agreement < 0) options.min_agreement = DEFAULT_MIN_AGREEMENT;

    rn_error err = {0};
    progress_bar bar = {.shown = -1};
    const rn_progress progress = {draw_bar, &bar}, *shown = options.quiet ? NULL : &progress;
    const rn_status status = showing ? show(second, &options, shown, &err) : convert(first, second, &options, shown, &err);
    clear_bar(&bar);
    if (status != RN_STATUS_OK) fprintf(stderr, "resnet-convert: %s\n", err.message);
    return exit_code(status);
}
