#!/bin/bash
# User-data of a yocobench box: cloud-init runs it once, as root. The box has no AWS permissions, only presigned URLs.
shutdown -h +@WALL_CLOCK_MIN@ # before anything can fail
set -uo pipefail
umask 077
export HOME="${HOME:-/root}" DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
log_url='@LOG_URL@' marker_url='@MARKER_URL@'
started=$(date +%s) train_at=0 trained_at=0 receipt_sha256='' beating=''
work=$(mktemp -d "${TMPDIR:-/var/tmp}/yocobench.XXXXXX") && cd "$work" || shutdown -h now
exec >"$work/log" 2>&1

begin() { echo "$*" >"$work/phase" && echo "== $(date -u +%H:%M:%SZ) $*"; }
transfer() { # file for the answer, what else curl must know; to --fail alone a redirect is a success
  local code
  code=$(curl --fail --silent --show-error --retry 5 --retry-all-errors --write-out '%{http_code}' --output "$@") || return
  [[ $code == 2?? ]] || { echo "error: S3 answered HTTP $code" && return 22; }
}
put() { transfer /dev/null --max-time 300 --upload-file "$1" "$2"; }
die() { echo "error: $*" && exit 1; }

hush() { # no heartbeat from now on: of its whole group, or an upload under way would outlive it and replace the last log
  [ -z "$beating" ] || { kill -- -"$beating" && wait "$beating"; }
}

finish() { # whatever happened: log, then the marker, last; then off, which terminates the box
  local status=$?
  trap - EXIT
  hush
  tail -c 262144 "$work/log" >"$work/log.tail"
  put "$work/log.tail" "$log_url"
  printf '{"status": %d, "phase": "%s", "started_at": %d, "train_at": %d, "trained_at": %d, "receipt_sha256": "%s"}\n' \
    "$status" "$(cat "$work/phase")" "$started" "$train_at" "$trained_at" "$receipt_sha256" >"$work/marker"
  put "$work/marker" "$marker_url"
  shutdown -h now
}
trap finish EXIT
trap 'exit 143' TERM INT HUP

fetch() { # name, sha256, url
  begin "download $1"
  transfer "$work/$1" "$3" || die "$1 was not downloaded"
  echo "$2  $work/$1" | sha256sum --check --status || die "$1: its sha256 is not $2"
}

beat() { # a sign of life: when, phase, last line of the log; and the log's tail
  while true; do
    printf '%s\n%s\n%s\n' "$(date +%s)" "$(cat "$work/phase")" "$(tail -n 1 "$work/log")" >"$work/heartbeat"
    put "$work/heartbeat" "$heartbeat_url"
    tail -c 65536 "$work/log" >"$work/log.now"
    put "$work/log.now" "$log_url"
    sleep "$heartbeat_s"
  done
}

apt() { # the image's own updates may hold the lock for a while after boot
  apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" || { sleep 20 && apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }
}

new_venv() { # a plain Ubuntu: framework and all from the lock file
  apt update && apt install python3-venv python3-dev g++ || die 'apt-get failed'
  python3 -m venv "$work/venv" || die 'no virtual environment'
  python=$work/venv/bin/python
}

image_venv() { # the image's own framework: the rest from the lock file
  python=$image_python
  [ -x "$python" ] || die "the image has no $python"
  grep -viE '^(torch|triton|nvidia|cuda|numpy)' constraints.txt >constraints.image && mv constraints.image constraints.txt
}

fetch job '@JOB_SHA256@' '@JOB_URL@'
. "$work/job"
set -m # a process group of its own
beat &
beating=$!
set +m
fetch code.tar "$code_sha256" "$code_url"
fetch constraints.txt "$constraints_sha256" "$constraints_url"
fetch cell.tar "$cell_sha256" "$cell_url"
[ -z "$data_url" ] || fetch data.tar "$data_sha256" "$data_url"

begin unpack
mkdir repo
for part in code.tar cell.tar data.tar; do # the cell's resolved settings over the code's own
  [ ! -f "$part" ] || tar --no-same-owner -xf "$part" -C repo || die "$part does not unpack"
done

begin "install for $family"
# The image's own updates would run into the measurement.
systemctl stop apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service 2>/dev/null
if [ -n "$image_python" ]; then image_venv; else new_venv; fi
"$python" -m pip install --quiet --constraint constraints.txt ${index_url:+--extra-index-url "$index_url"} \
  --editable repo $extra_packages || die 'pip failed'

begin train
train_at=$(date +%s)
cd repo || die 'no repo'
PATH="$(dirname "$python"):$PATH" PYTHONPATH="$work/repo/vendor" "$python" -m yocobench.train \
  workload="$workload" subset="$subset" instance="$instance" launcher=local receipt=receipt.json
status=$?
trained_at=$(date +%s)
[ "$status" -eq 0 ] || die "yocobench.train ended with status $status"
begin upload
put receipt.json "$receipt_url" || die 'the receipt was not uploaded'
receipt_sha256=$(sha256sum receipt.json | cut -d ' ' -f 1)
begin done
