/* What grpc_server.c and grpc_call.c share: the events that a completion queue reports. */
#ifndef RN_HTTP_GRPC_PRIVATE_H
#define RN_HTTP_GRPC_PRIVATE_H

#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct rn_service rn_service;

/* Given to libgrpc as the tag of an operation, part of whatever waits for it. */
typedef struct rn__grpc_event rn__grpc_event;
struct rn__grpc_event {
    void (*happened)(rn__grpc_event *event, bool ok); /* on the thread of the loop that owns the completion queue */
};

typedef struct rn__grpc_call rn__grpc_call;

/* The calls of one loop whose clients listen for news; of that loop's thread alone. */
typedef struct rn__grpc_watchers {
    rn__grpc_call *first;
} rn__grpc_watchers;

/* What all calls of a server share. */
typedef struct rn__grpc_calls {
    const rn_service *service;
    atomic_int count; /* of calls under way: those that the end waits for */
    atomic_int open;  /* of all that exist, idle streams too */
} rn__grpc_calls;

/* Takes a call that has just arrived; its events go to the queue whose thread this is called on. Details and headers are borrowed. */
void rn__grpc_begin(rn__grpc_calls *calls, rn__grpc_watchers *watchers, grpc_call *call, const grpc_call_details *details,
                    const grpc_metadata_array *headers);

/* Lets the handlers of all watchers look for news. */
void rn__grpc_look(const rn__grpc_watchers *watchers);

#endif
