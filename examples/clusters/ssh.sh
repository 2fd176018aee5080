#!/bin/bash
# Trains on hosts that are reached by ssh: ssh.sh THIS_ADDRESS HOSTS ROWS MODEL, such as
# ssh.sh 10.0.0.4:7000 "node1 node2" /shared/rows model.npz.
# The token goes through the standard input of ssh: no command line has it.
set -eu
address=${1:-10.0.0.4:7000} hosts=${2:-node1 node2} rows=${3:-/shared/rows} model=${4:-model.npz}
export HYBRIDTRAIN_TOKEN=$(hybridtrain node --new-token)
for host in $hosts; do
    ssh "$host" "read -r HYBRIDTRAIN_TOKEN && export HYBRIDTRAIN_TOKEN &&
        exec hybridtrain node --join $address --name $host" <<< "$HYBRIDTRAIN_TOKEN" &
done
hybridtrain train "$rows" --strategy sync --nodes "$(wc -w <<< "$hosts")" --listen "$address" \
    --epochs 20 --save "$model"
wait
