#!/bin/bash
# Trains where torchrun starts processes; run it on every machine, with the same HYBRIDTRAIN_TOKEN:
# torchrun.sh FIRST_HOST MACHINES THIS_ONE ROWS MODEL, THIS_ONE from 0. Rank 0 listens at port 29501.
set -eu
first=${1:-node1} machines=${2:-2} this=${3:-0} rows=${4:-/shared/rows} model=${5:-model.npz}
torchrun --nnodes "$machines" --node-rank "$this" --nproc-per-node 1 --no-python \
    --master-addr "$first" --master-port "${MASTER_PORT:-29500}" \
    hybridtrain train "$rows" --strategy sync --nodes env --epochs 20 --save "$model"
