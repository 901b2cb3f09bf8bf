/* Read from /proc when a page is asked for. What cannot be read is left out. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "http/prometheus.h"

typedef struct {
    unsigned long long user_ticks, system_ticks, start_ticks, virtual_bytes;
    long long resident_pages;
} stat_fields;

/* proc(5): fields 14, 15, 22, 23 and 24. The second one is a name in parentheses, which may hold anything. */
static bool read_stat(stat_fields *out)
{
    char text[2048];
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file) return false;
    const size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = '\0';
    const char *rest = strrchr(text, ')');
    return rest && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %llu %lld",
                          &out->user_ticks, &out->system_ticks, &out->start_ticks, &out->virtual_bytes, &out->resident_pages) == 5;
}

static int64_t boot_time_s(void)
{
    char line[256];
    long long seconds = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (!file) return 0;
    while (seconds == 0 && fgets(line, sizeof line, file)) sscanf(line, "btime %lld", &seconds);
    fclose(file);
    return seconds;
}

static int64_t open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) return -1;
    int64_t count = -3; /* ".", ".." and the directory itself */
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

static void write_one(rn__page *page, const char *name, const char *type, const char *help, int64_t value)
{
    rn__page_family(page, name, type, help);
    rn__page_begin(page, "");
    rn__page_end_int(page, value);
}

static int64_t ticks_to_us(unsigned long long ticks)
{
    return (int64_t)(ticks * 1000000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

void rn__page_process(rn__page *page)
{
    stat_fields fields;
    if (read_stat(&fields)) {
        rn__page_family(page, "process_cpu_seconds_total", "counter", "User and system time.");
        rn__page_begin(page, "");
        rn__page_end_seconds(page, ticks_to_us(fields.user_ticks + fields.system_ticks));
        rn__page_family(page, "process_start_time_seconds", "gauge", "Start of the process since the Unix epoch.");
        rn__page_begin(page, "");
        rn__page_end_seconds(page, boot_time_s() * 1000000 + ticks_to_us(fields.start_ticks));
        write_one(page, "process_resident_memory_bytes", "gauge", "Resident memory.",
                  (int64_t)fields.resident_pages * sysconf(_SC_PAGESIZE));
        write_one(page, "process_virtual_memory_bytes", "gauge", "Virtual memory.", (int64_t)fields.virtual_bytes);
    }
    const int64_t files = open_files();
    if (files >= 0) write_one(page, "process_open_fds", "gauge", "Open file descriptors.", files);
}
