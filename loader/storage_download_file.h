/* A file on its way: what is there of it, part by part, also after the process has ended. */
#ifndef RN_LOADER_STORAGE_DOWNLOAD_FILE_H
#define RN_LOADER_STORAGE_DOWNLOAD_FILE_H

#include "loader/storage_private.h"

typedef struct rn__part_file {
    rn__object *object;
    char *path, *progress_path; /* of the incomplete file and of the notes about it */
    int fd, progress_fd;        /* -1: not open */
    uint64_t part_bytes;
    uint64_t *progress; /* [part_count] bytes that are there */
    int32_t part_count;
    int32_t downloads; /* that turned out to be corrupt */
    bool finished;     /* complete and checked */
    bool renamed;
} rn__part_file;

/* Makes folders, opens both files and reads how far an earlier download came, if it was of the same object. path: what the file will be
 * called. */
rn_status rn__part_file_open(rn__part_file *file, const char *folder, const char *path, rn_error *err);
void rn__part_file_close(rn__part_file *file);

uint64_t rn__part_file_length(const rn__part_file *file, int32_t part);
bool rn__part_file_is_complete(const rn__part_file *file);
void rn__part_file_note(rn__part_file *file, int32_t part, uint64_t done);

/* It was not worth anything: from the beginning. */
rn_status rn__part_file_restart(rn__part_file *file, rn_error *err);
/* Closes it and removes the notes. */
rn_status rn__part_file_finish(rn__part_file *file, rn_error *err);
rn_status rn__part_file_rename(rn__part_file *file, const char *path, rn_error *err);

#endif
