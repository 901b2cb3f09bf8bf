#!/bin/sh
# The role that pods read the model bucket with. Needs the cluster, for its OIDC provider.
#
# usage: [CLUSTER=resnetd] sh k8s/platform/eks/create-role.sh
set -eu
cd "$(dirname "$0")"
CLUSTER=${CLUSTER:-resnetd}
account=$(aws sts get-caller-identity --query Account --output text)
provider=$(aws eks describe-cluster --name "$CLUSTER" --query cluster.identity.oidc.issuer --output text | sed 's,^https://,,')
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
sed "s,OIDC_PROVIDER,$provider,g; s,123456789012,$account,g" model-reader-trust.json >"$work/trust.json"
aws iam create-policy --policy-name kserve-model-reader --policy-document file://model-reader-policy.json
aws iam create-role --role-name kserve-model-reader --assume-role-policy-document "file://$work/trust.json"
aws iam attach-role-policy --role-name kserve-model-reader --policy-arn "arn:aws:iam::$account:policy/kserve-model-reader"
