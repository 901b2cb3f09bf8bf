/* One thread that follows another one's reading. */
#include "loader/data_hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "loader/model_file_private.h"

enum { LENGTH_BYTES = RN__MODEL_FILE_LENGTH_BYTES };

struct rn__data_hash {
    pthread_t thread;
    bool started;
    EVP_MD_CTX *context;
    bool good;              /* of the context, while `followed` bytes have gone through it or before it */
    size_t followed;

    pthread_mutex_t lock;
    pthread_cond_t moved;
    const uint8_t *bytes;
    size_t done;
    bool ended;
};

/* Where the data starts; `done` while the length before it is not there. */
static size_t data_begin(const uint8_t *bytes, size_t done)
{
    uint64_t length;
    if (done < LENGTH_BYTES) return done;
    memcpy(&length, bytes, LENGTH_BYTES);
    return length < SIZE_MAX - LENGTH_BYTES ? LENGTH_BYTES + (size_t)length : SIZE_MAX;
}

static void follow(rn__data_hash *hash, const uint8_t *bytes, size_t done)
{
    const size_t begin = data_begin(bytes, done), from = hash->followed > begin ? hash->followed : begin;
    if (from < done && hash->good) hash->good = EVP_DigestUpdate(hash->context, bytes + from, done - from) == 1;
    hash->followed = done;
}

static void *thread_main(void *argument)
{
    rn__data_hash *hash = argument;
    for (bool ended = false; !ended;) {
        pthread_mutex_lock(&hash->lock);
        while (hash->done == hash->followed && !hash->ended) pthread_cond_wait(&hash->moved, &hash->lock);
        const uint8_t *bytes = hash->bytes;
        const size_t done = hash->done;
        ended = hash->ended;
        pthread_mutex_unlock(&hash->lock);
        follow(hash, bytes, done);
    }
    return NULL;
}

rn__data_hash *rn__data_hash_start(void)
{
    rn__data_hash *hash = calloc(1, sizeof *hash);
    if (!hash) return NULL;
    pthread_mutex_init(&hash->lock, NULL);
    pthread_cond_init(&hash->moved, NULL);
    hash->context = EVP_MD_CTX_new();
    hash->good = hash->context && EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) == 1;
    hash->started = pthread_create(&hash->thread, NULL, thread_main, hash) == 0;
    return hash;
}

void rn__data_hash_advance(void *argument, const uint8_t *bytes, size_t done)
{
    rn__data_hash *hash = argument;
    pthread_mutex_lock(&hash->lock);
    hash->bytes = bytes;
    hash->done = done;
    pthread_cond_signal(&hash->moved);
    pthread_mutex_unlock(&hash->lock);
}

bool rn__data_hash_finish(rn__data_hash *hash, uint8_t digest[32])
{
    if (!hash) return false;
    pthread_mutex_lock(&hash->lock);
    hash->ended = true;
    pthread_cond_signal(&hash->moved);
    pthread_mutex_unlock(&hash->lock);
    if (hash->started) pthread_join(hash->thread, NULL);
    else follow(hash, hash->bytes, hash->done);
    const bool good = hash->good && EVP_DigestFinal_ex(hash->context, digest, NULL) == 1;
    EVP_MD_CTX_free(hash->context);
    pthread_cond_destroy(&hash->moved);
    pthread_mutex_destroy(&hash->lock);
    free(hash);
    return good;
}
