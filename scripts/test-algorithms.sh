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
  HEGEMON_TOKEN      for clusters that want credentials: a token of an admin, who may make a leader step down, or
                     HEGEMON_API_KEY with a key of that role
  HEGEMON_CA_FILE    for clusters that speak TLS: who signed their certificates
  HEGEMON_CURL       more options for curl, such as '--proxy URL'

A row takes about half a minute. If something fails, what the nodes of --local wrote is kept, and where is said.

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
# A cluster that failed leaves what its nodes wrote.
# shellcheck disable=SC2317,SC2329 # the trap calls it
clean_up() {
    stop_started
    if [ "$failed" -ne 0 ] && [ -d "$work/data/logs" ]; then
        echo "what the nodes wrote: $work/data/logs" >&2
    else
        rm -rf "$work"
    fi
}
trap 'clean_up' EXIT
trap 'exit 130' INT TERM

# What curl is told beside its command line, where everybody on this machine could read a token.
umask 077
: >"$work/curlrc"
: >"$work/why"
token=${HEGEMON_TOKEN:-${HEGEMON_API_KEY:-}}
[ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token" >>"$work/curlrc"
[ -z "${HEGEMON_CA_FILE:-}" ] || printf 'cacert = "%s"\n' "$HEGEMON_CA_FILE" >>"$work/curlrc"

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
    curl -K "$work/curlrc" -fsS -m 2 ${HEGEMON_CURL:-} -X "$1" "${body[@]}" "$2" 2>"$work/why"
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

# status ID: what a job has become, by the first node that answers; nothing if none does.
status() {
    local url found
    for url in "${urls[@]}"; do
        found=$(api GET "$url/api/v1/jobs/$1" | jq -r .status) && [ -n "$found" ] && echo "$found" && return
    done
}

# completed: how many of the submitted jobs are completed, once all have ended or the time is up. Each one is looked at
# at least once; those that did not complete are named.
completed() {
    local until_ms=$(($(now_ms) + patience_ms)) count=0 id state
    cp "$work/ids" "$work/open"
    while :; do
        : >"$work/rest"
        while read -r id; do
            state=$(status "$id") || state=''
            case $state in
            completed) count=$((count + 1)) ;;
            failed | cancelled) echo "job $id has $state" >&2 ;;
            *) echo "$id ${state:-unknown}" >>"$work/rest" ;;
            esac
        done <"$work/open"
        if [ ! -s "$work/rest" ] || [ "$(now_ms)" -ge "$until_ms" ]; then break; fi
        cut -d ' ' -f 1 "$work/rest" >"$work/open"
        sleep 0.1
    done
    sed 's/^\([^ ]*\) \(.*\)/job \1 is still \2/' "$work/rest" >&2
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
    local hegemon=$root/.venv/bin/hegemon deadline=$((SECONDS + 120)) i
    [ -x "$hegemon" ] || hegemon=$(command -v hegemon) || die "there is no hegemon; run ./dev test once, or install it"
    step starting
    rm -rf "$work/data"
    # Workers import the example handlers from where they lie.
    (cd "$root" && METRICS_PORT=0 exec "$hegemon" up --nodes "$nodes" --algorithm "$1" --port "$port" \
        --data "$work/data" --handlers examples.jobs) >"$work/up.log" 2>&1 &
    started=$!
    until grep -q 'Ctrl-C stops' "$work/up.log"; do
        kill -0 "$started" 2>/dev/null || { cat "$work/up.log" >&2 && die "the cluster did not start"; }
        [ $SECONDS -lt $deadline ] || { cat "$work/up.log" >&2 && failed=1 && die "it was not ready after 120 s"; }
        sleep 0.1
    done
    urls=()
    for ((i = 0; i < nodes; i++)); do urls+=("http://127.0.0.1:$((port + i))"); done
}

row='%-10s %-12s %10s %12s %12s %12s %s\n'

# step WHAT: what goes on, on one line of a terminal.
step() {
    [ ! -t 2 ] || printf '\r\033[K%s: %s …' "$name" "$1" >&2
}

# show CELL...: a row of the table.
show() {
    [ ! -t 2 ] || printf '\r\033[K' >&2
    # shellcheck disable=SC2059 # one form for every row
    printf "$row" "$@"
}

# One cluster's row. Every fault begins with a leader that is active.
try_cluster() {
    local name=$1 since before before_epoch at later took_down='-' took_kill='-' needless done_jobs third verdict=ok
    : >"$work/ids"
    read -r before before_epoch at _ < <(successor 0 "$(now_ms)") || {
        echo "$name: nobody leads; the last that curl said: $(cat "$work/why")" >&2
        failed=1
        return
    }
    third=$((jobs / 3))
    step 'jobs in calm'
    submit $third || verdict='jobs refused'
    sleep "$calm"
    read -r _ later _ < <(active) || later=$before_epoch
    needless=$((later - before_epoch))

    step 'the leader steps down'
    since=$(now_ms)
    api POST "$at/api/v1/election/step-down" '{"pause": 5}' >"$work/answer" || verdict='step-down refused'
    if read -r before before_epoch at took_down < <(successor "$later" "$since"); then took_down="$took_down ms"; else
        verdict='no successor' took_down=never
    fi
    submit $third || verdict='jobs refused'

    if [ "$verdict" = ok ] && { [ -n "$started" ] || [ -n "${HEGEMON_KILL:-}" ]; }; then
        sleep 2
        # Just now there may be none.
        read -r before before_epoch at _ < <(successor 0 "$(now_ms)") || { before='' verdict='nobody leads'; }
        step "kill -9 of $before"
        since=$(now_ms)
        if [ -z "$before" ]; then
            took_kill=never
        elif ! kill_node "$before"; then
            verdict='not killed' took_kill=never
        elif read -r _ _ _ took_kill < <(successor "$before_epoch" "$since"); then took_kill="$took_kill ms"; else
            verdict='no successor' took_kill=never
        fi
    fi
    submit $((jobs - 2 * third)) || verdict='jobs refused'
    step 'the last jobs'
    done_jobs=$(completed)
    [ "$done_jobs" -eq "$jobs" ] || verdict='JOBS MISSING'
    [ "$verdict" = ok ] || failed=1
    show "$name" "${#urls[@]} nodes" "$needless" "$took_down" "$took_kill" "$done_jobs/$jobs" "$verdict"
}

case ${1:-} in
-h | --help) usage && exit 0 ;;
'') usage >&2 && exit 2 ;;
esac
for tool in curl jq; do command -v $tool >/dev/null || die "needs $tool"; done
if [ "$1" = --local ]; then
    shift
    [ $# -gt 0 ] || set -- bully raft gossip
    for name in "$@"; do
        case $name in bully | raft | gossip) ;; *) die "$name: no algorithm; there are bully, raft and gossip" ;; esac
    done
else
    for cluster in "$@"; do
        case $cluster in *=http*) ;; *) die "$cluster: write ALGORITHM=URL[,URL...]" ;; esac
    done
fi
show ALGORITHM CLUSTER NEEDLESS STEP-DOWN 'KILL -9' COMPLETED RESULT
for cluster in "$@"; do
    name=${cluster%%=*}
    if [ "$cluster" = "$name" ]; then
        start_local "$name"
    else
        IFS=, read -r -a urls <<<"${cluster#*=}"
    fi
    try_cluster "$name"
    stop_started
    # The first failure is the one to look at.
    [ "$failed" -eq 0 ] || [ "$cluster" != "$name" ] || break
done
exit $failed
