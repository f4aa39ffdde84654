#!/usr/bin/env bash
# The same faults for a cluster of each algorithm, from a plain shell, and one table to compare them.
# Needs bash, curl and jq.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: scripts/test-algorithms.sh --local [ALGORITHM...]
       scripts/test-algorithms.sh ALGORITHM=URL[,URL...]...

Does the same to each cluster: submits jobs; watches it for a while undisturbed; makes the leader step down; kills the
leader; and counts what became of the jobs.

--local starts a cluster of NODES nodes on this machine for each algorithm (default: bully raft gossip), one after the
other, and stops it afterwards. Otherwise the clusters run already, and the URLs name nodes of each.

  NODES=3            how many nodes --local starts
  JOBS=60            how many jobs are submitted, in three parts; they are of type noop
  CALM=5             seconds to watch undisturbed
  PORT=28080         the first port of --local
  HEGEMON_KILL       for clusters that run already: a command that kills a node, {} is its NODE_ID, such as
                     'docker kill cluster-{}-1'. Without it their leader is not killed
  HEGEMON_CURL       more options for curl, such as '--cacert ca.pem'

Exit codes: 0 all jobs completed and every leader was succeeded, 1 not so, 2 wrong use.
HELP
}

die() {
    echo "test-algorithms.sh: $*" >&2
    exit 2
}

nodes=${NODES:-3} jobs=${JOBS:-60} calm=${CALM:-5} port=${PORT:-28080}
patience_ms=30000
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
work=$(mktemp -d)
started=''
failed=0
urls=()

stop_started() {
    [ -z "$started" ] || { kill -TERM "$started" 2>/dev/null || true; wait "$started" 2>/dev/null || true; }
    started=''
}
trap 'stop_started; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

now_ms() {
    if [ -n "${EPOCHREALTIME:-}" ]; then
        local both=${EPOCHREALTIME/[.,]/}
        echo $((both / 1000))
    else
        date +%s000 # an old bash: whole seconds are better than nothing
    fi
}

# api METHOD URL [BODY]: the answer, of a node that may be gone at any moment.
api() {
    local body=()
    [ $# -lt 3 ] || body=(-H 'Content-Type: application/json' -d "$3")
    # shellcheck disable=SC2086 # the options are words
    curl -fsS -m 2 ${HEGEMON_CURL:-} -X "$1" "${body[@]}" "$2" 2>/dev/null
}

# active: "NODE EPOCH URL" of the node that is active, by the newest epoch that any node names for itself.
active() {
    local url
    for url in "${urls[@]}"; do
        api GET "$url/api/v1/election" | jq -r --arg url "$url" 'select(.active) | "\(.epoch) \(.node_id) \($url)"' || true
    done | sort -rn | awk 'NR == 1 { print $2, $1, $3 }'
}

# successor EPOCH SINCE_MS: waits for an active leader of a newer epoch; "NODE EPOCH URL MS" with the time it took.
successor() {
    local found
    while [ $(($(now_ms) - $2)) -lt $patience_ms ]; do
        found=$(active)
        # shellcheck disable=SC2086 # the words of the answer
        set -- "$1" "$2" $found
        if [ $# -ge 4 ] && [ "$4" -gt "$1" ]; then
            echo "$found $(($(now_ms) - $2))"
            return 0
        fi
        set -- "$1" "$2"
    done
    return 1
}

# submit COUNT: that many jobs, through whichever node answers; their ids go to a file.
submit() {
    local left=$1 url answer
    local until_ms=$(($(now_ms) + patience_ms))
    while [ "$left" -gt 0 ] && [ "$(now_ms)" -lt "$until_ms" ]; do
        for url in "${urls[@]}"; do
            if answer=$(api POST "$url/api/v1/jobs" '{"type": "noop"}'); then
                jq -r .id <<<"$answer" >>"$work/ids"
                left=$((left - 1))
                break
            fi
        done
    done
    [ "$left" -eq 0 ]
}

# completed: how many of the submitted jobs are completed, once all are or the time is up.
completed() {
    local until_ms=$(($(now_ms) + patience_ms)) count=0 id url
    while read -r id; do
        while [ "$(now_ms)" -lt "$until_ms" ]; do
            for url in "${urls[@]}"; do
                case $(api GET "$url/api/v1/jobs/$id" | jq -r .status) in
                completed) count=$((count + 1)) && continue 3 ;;
                failed | cancelled) continue 3 ;;
                esac
            done
            sleep 0.1
        done
    done <"$work/ids"
    echo "$count"
}

kill_node() {
    if [ -n "$started" ]; then
        kill -9 "$(jq -r --arg id "$1" '.nodes[] | select(.id == $id) | .pid' "$work"/data/cluster.json)"
    else
        sh -c "${HEGEMON_KILL//\{\}/$1}"
    fi
}

start_local() {
    local hegemon=$root/.venv/bin/hegemon deadline=$((SECONDS + 60)) i
    [ -x "$hegemon" ] || hegemon=$(command -v hegemon) || die "there is no hegemon; run ./dev test once, or install it"
    rm -rf "$work/data"
    # Workers import the example handlers from where they lie.
    (cd "$root" && METRICS_PORT=0 exec "$hegemon" up --nodes "$nodes" --algorithm "$1" --port "$port" \
        --data "$work/data" --handlers examples.jobs) >"$work/up.log" 2>&1 &
    started=$!
    until grep -q 'Ctrl-C stops' "$work/up.log"; do
        kill -0 "$started" 2>/dev/null || { cat "$work/up.log" >&2 && die "the cluster did not start"; }
        [ $SECONDS -lt $deadline ] || die "the cluster was not ready after 60 s"
        sleep 0.1
    done
    urls=()
    for ((i = 0; i < nodes; i++)); do urls+=("http://127.0.0.1:$((port + i))"); done
}

row='%-10s %-12s %10s %12s %12s %12s %s\n'

# One cluster's row. Every fault begins with a leader that is active.
try_cluster() {
    local name=$1 since before before_epoch at later took_down='-' took_kill='-' needless done_jobs third verdict=ok
    : >"$work/ids"
    read -r before before_epoch at _ < <(successor 0 "$(now_ms)") || { echo "$name: nobody leads" >&2 && failed=1 && return; }
    third=$((jobs / 3))
    submit $third || verdict='jobs refused'
    sleep "$calm"
    read -r _ later _ < <(active) || later=$before_epoch
    needless=$((later - before_epoch))

    since=$(now_ms)
    api POST "$at/api/v1/election/step-down" '{"pause": 5}' >"$work/answer" || verdict='step-down refused'
    if read -r before before_epoch at took_down < <(successor "$later" "$since"); then took_down="$took_down ms"; else
        verdict='no successor' took_down=never
    fi
    submit $third || verdict='jobs refused'

    if [ "$verdict" = ok ] && { [ -n "$started" ] || [ -n "${HEGEMON_KILL:-}" ]; }; then
        sleep 2
        read -r before before_epoch at < <(active)
        since=$(now_ms)
        kill_node "$before"
        if read -r _ _ _ took_kill < <(successor "$before_epoch" "$since"); then took_kill="$took_kill ms"; else
            verdict='no successor' took_kill=never
        fi
    fi
    submit $((jobs - 2 * third)) || verdict='jobs refused'
    done_jobs=$(completed)
    [ "$done_jobs" -eq "$jobs" ] || verdict='JOBS MISSING'
    [ "$verdict" = ok ] || failed=1
    # shellcheck disable=SC2059 # one form for every row
    printf "$row" "$name" "${#urls[@]} nodes" "$needless" "$took_down" "$took_kill" "$done_jobs/$jobs" "$verdict" >>"$work/table"
}

case ${1:-} in
-h | --help) usage && exit 0 ;;
'') usage >&2 && exit 2 ;;
esac
for tool in curl jq; do command -v $tool >/dev/null || die "needs $tool"; done
# shellcheck disable=SC2059
printf "$row" ALGORITHM CLUSTER NEEDLESS STEP-DOWN 'KILL -9' COMPLETED RESULT >"$work/table"
if [ "$1" = --local ]; then
    shift
    [ $# -gt 0 ] || set -- bully raft gossip
    for name in "$@"; do
        echo "$name: $nodes nodes on this machine …" >&2
        start_local "$name"
        try_cluster "$name"
        stop_started
    done
else
    for cluster in "$@"; do
        case $cluster in *=http*) ;; *) die "$cluster: write ALGORITHM=URL[,URL...]" ;; esac
        IFS=, read -r -a urls <<<"${cluster#*=}"
        echo "${cluster%%=*}: ${urls[*]} …" >&2
        try_cluster "${cluster%%=*}"
    done
fi
cat "$work/table"
exit $failed
