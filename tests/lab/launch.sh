#!/bin/bash
# Runs the daemon on a node, and again after RESTART seconds whenever it ends, as systemd's
# Restart=always does; RESTART is "never" for once. The process numbers that it leaves are the
# lab's, not the node's.
#   launch.sh RESTART COMMAND...
set -u
restart=$1
shift
read -r pid _ </run/lab/proc/self/stat
echo "$pid" >/run/lab/dir/launch.pid
while :; do
  (
    read -r pid _ </run/lab/proc/self/stat
    echo "$pid" >/run/lab/dir/daemon.pid
    exec "$@"
  )
  status=$?
  echo "lab: the daemon ended with status $status" >&2
  [ "$restart" = never ] && exit 0
  sleep "$restart"
done
