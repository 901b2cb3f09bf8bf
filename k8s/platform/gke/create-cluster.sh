#!/bin/sh
# A GKE cluster as the tutorial's, with Workload Identity, and a pool of L4 GPUs that is empty until a pod asks for one.
#
# usage: PROJECT_ID=... MODEL_BUCKET=... [ZONE=us-central1-a] [CLUSTER=resnetd] [ACCELERATOR=nvidia-l4] sh k8s/platform/gke/create-cluster.sh
set -eu
: "${PROJECT_ID:?the project to create it in}" "${MODEL_BUCKET:?the bucket with the models, without gs://}"
ZONE=${ZONE:-us-central1-a}
CLUSTER=${CLUSTER:-resnetd}
ACCELERATOR=${ACCELERATOR:-nvidia-l4}

# e2-standard-4 has 4 processors and a pod asks for 3: one pod a node. Three nodes at most, so the fourth replica of overlays/lab stays pending.
gcloud container clusters create "$CLUSTER" --project="$PROJECT_ID" --zone="$ZONE" \
  --machine-type=e2-standard-4 --num-nodes=1 --enable-autoscaling --min-nodes=1 --max-nodes=3 \
  --workload-pool="$PROJECT_ID.svc.id.goog" --workload-metadata=GKE_METADATA \
  --enable-dataplane-v2 --enable-managed-prometheus --release-channel=regular --enable-shielded-nodes

gcloud container node-pools create gpu --project="$PROJECT_ID" --cluster="$CLUSTER" --zone="$ZONE" \
  --machine-type=g2-standard-8 --accelerator="type=$ACCELERATOR,count=1,gpu-driver-version=latest" \
  --num-nodes=0 --enable-autoscaling --min-nodes=0 --max-nodes=3 \
  --node-labels="accelerator=$ACCELERATOR" --workload-metadata=GKE_METADATA

# The account that may read the bucket, and the Kubernetes account that may be it.
READER=resnetd-model-reader@$PROJECT_ID.iam.gserviceaccount.com
gcloud iam service-accounts create resnetd-model-reader --project="$PROJECT_ID"
gcloud storage buckets add-iam-policy-binding "gs://$MODEL_BUCKET" --member="serviceAccount:$READER" --role=roles/storage.objectViewer
gcloud iam service-accounts add-iam-policy-binding "$READER" --project="$PROJECT_ID" --role=roles/iam.workloadIdentityUser \
  --member="serviceAccount:$PROJECT_ID.svc.id.goog[ml-serving/image-classifier]"

gcloud container clusters get-credentials "$CLUSTER" --project="$PROJECT_ID" --zone="$ZONE"
