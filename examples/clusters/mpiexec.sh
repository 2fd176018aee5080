#!/bin/bash
# Trains on hosts where Open MPI starts processes: mpiexec.sh HOSTS ROWS MODEL, HOSTS such as node1,node2.
# MPI only starts the processes. Its launcher ends them all when one dies: for runs that must
# survive that, take SLURM, ssh.sh or an engine.
set -eu
hosts=${1:-node1,node2} rows=${2:-/shared/rows} model=${3:-model.npz}
export HYBRIDTRAIN_TOKEN=$(hybridtrain node --new-token)
export HYBRIDTRAIN_ADDRESS=${HYBRIDTRAIN_ADDRESS:-${hosts%%,*}:7000}
mpiexec -n "$(tr , '\n' <<< "$hosts" | wc -l)" --host "$hosts" \
    -x HYBRIDTRAIN_TOKEN -x HYBRIDTRAIN_ADDRESS \
    hybridtrain train "$rows" --strategy sync --nodes env --epochs 20 --save "$model"
