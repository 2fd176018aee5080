#!/bin/bash
#SBATCH --nodes=4 --ntasks-per-node=1 --cpus-per-task=16 --no-kill
# Trains on every node of a SLURM job: sbatch slurm.sh ROWS MODEL. All must read ROWS by this path.
# A machine that fails does not end the job: the others go on without it.
set -eu
rows=${1:-/shared/rows} model=${2:-model.npz}
export HYBRIDTRAIN_TOKEN=$(hybridtrain node --new-token)
srun --kill-on-bad-exit=0 \
    hybridtrain train "$rows" --strategy sync --nodes env --epochs 20 --save "$model"
