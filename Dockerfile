# The image without a GPU: docker build -t resnetd .
#
# It takes tensorflow/serving's place: the same ports, and its programs' names are there. The final stage starts from nothing, so what is in the image is
# what tools/image-root.sh lays out; a test runs the server on that very tree, without privileges and read-only.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY tools/install-deps.sh tools/
RUN sh tools/install-deps.sh build && rm -rf /var/lib/apt/lists/*
COPY . .
ARG COMMIT=unknown
RUN make -s -j"$(nproc)" COMMIT="$COMMIT" && sh tools/image-root.sh build /image

FROM scratch
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="resnetd" \
      org.opencontainers.image.description="ResNet inference server that takes TensorFlow Serving's place" \
      org.opencontainers.image.source="https://github.com/example/resnetd" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /image/ /
# What a manifest that was written for TensorFlow Serving does not say: keep serving for 5 s after SIGTERM, until load balancers have noticed, and be done
# before the 30 s are over that Kubernetes gives by default.
ENV RESNETD_DRAIN_DELAY=5 \
    RESNETD_DRAIN_TIMEOUT=20 \
    RESNETD_MODEL_CACHE_DIR=/var/cache/resnetd
USER 65532:65532
EXPOSE 8500 8501 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5m CMD ["/usr/bin/resnetd", "healthcheck"]
# The server by the name of TensorFlow Serving's script: as that, it looks for the model in $MODEL_BASE_PATH/$MODEL_NAME if no flag says where it is.
ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]
