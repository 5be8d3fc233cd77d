#!/bin/bash
# What ipmi_sim calls to tell or change the power of its node (`chassis_control` in lan.conf):
#   chassis.sh PORT get power | set power 0|1 | set reset|shutdown|boot|identify ...
# It passes the question on to the lab's power supply, and the answer back. No answer is a failure.
port=$1
shift
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
printf '%s\n' "$*" >&3
IFS= read -r -t 20 answer <&3 || exit 1
[ "$answer" = refused ] && exit 1
printf '%s\n' "$answer"
