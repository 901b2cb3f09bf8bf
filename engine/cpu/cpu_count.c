/* A container's processor limit is usually a quota of processor time, which the affinity mask does not show: with more threads than the
 * quota allows, the kernel stops them all for the rest of each period. So both are asked, and quotas up to the root of the control groups. */
#include "engine/cpu/cpu_count.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

static int32_t affinity_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}

/* The quota in <folder>/cpu.max ("max 100000" or "150000 100000"), rounded up; `unlimited` where there is none. */
static int32_t quota(const char *folder, int32_t unlimited)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) >= (int)sizeof path) return unlimited;
    FILE *file = fopen(path, "re");
    if (!file) return unlimited;
    long long allowed, period;
    const int found = fscanf(file, "%lld %lld", &allowed, &period);
    fclose(file);
    if (found != 2 || allowed <= 0 || period <= 0) return unlimited;
    const long long count = (allowed + period - 1) / period;
    return count < unlimited ? (int32_t)count : unlimited;
}

/* The folder of this process's control group: the "0::<path>" line. */
static int group_folder(char folder[PATH_BYTES])
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return 0;
    int found = 0;
    char line[PATH_BYTES - 32];
    while (!found && fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::/", 4) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(folder, PATH_BYTES, "/sys/fs/cgroup%s", line + 3);
        found = 1;
    }
    fclose(file);
    return found;
}

int32_t rn__cpu_count(void)
{
    int32_t count = affinity_count();
    char folder[PATH_BYTES];
    if (!group_folder(folder)) return count;
    const size_t root = strlen("/sys/fs/cgroup");
    for (;;) {
        const int32_t allowed = quota(folder, count);
        if (allowed < count) count = allowed;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < root) break;
        *slash = '\0';
    }
    return count < 1 ? 1 : count;
}
