#!/usr/bin/env bash
# The same faults for a cluster of each algorithm, from a plain shell, and one table to compare them.
# Needs bash, curl and jq.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: scripts/test-algorithms.sh --compose [--engine docker|podman] [ALGORITHM...]
       scripts/test-algorithms.sh --local [ALGORITHM...]
       scripts/test-algorithms.sh ALGORITHM=URL[,URL...]...

Does the same to each cluster: watches it for a while undisturbed; then, each time with jobs under way, makes the leader
step down, pauses the leader, cuts it off from the network, and kills it; and counts what became of the jobs. The table
has the milliseconds from each fault to the next active leader, "-" for a fault that is not to be had there; NEEDLESS is
how often the leader changed in calm.

--compose  brings up compose/compose.ALGORITHM.yml (default: bully raft gossip), one after the other, and takes each
           down with all of its data. The projects are named hegemon-test-ALGORITHM, so containers, network and volumes
           of clusters of yours stay what they are; but the ports are the same, so those must be down. The faults are
           the engine's kill, pause and network disconnect on the container whose labels name the project and the
           service: hegemon-test-raft-node-1-1 with Docker, hegemon-test-raft_node-1_1 with podman-compose. Needs what
           compose/init makes, and examples.jobs among HANDLERS in compose/node.env.
--local    starts a cluster of NODES nodes on this machine for each algorithm, one after the other, and stops it
           afterwards. A pause is SIGSTOP there, a kill SIGKILL; nothing is cut off.
           Otherwise the clusters run already, and the URLs name nodes of each.

  JOBS=60            how many jobs are submitted; they are of type noop
  CALM=5             seconds to watch undisturbed
  PATIENCE=30        seconds to wait for a leader, for an answer, and for the jobs
  COMPOSE            for --compose: the composer, if it is not 'docker compose' or 'podman-compose'
  NODES=3            for --local: how many nodes
  PORT=28080         for --local: the first port
  HEGEMON_KILL       for clusters that run already: a command that kills a node, {} is its NODE_ID, such as
                     'docker kill hegemon-raft-{}-1'. Without it their leader only steps down
  HEGEMON_TOKEN      for clusters that want credentials: a token of an admin, who may make a leader step down, or
                     HEGEMON_API_KEY with a key of that role
  HEGEMON_CA_FILE    for clusters that speak TLS: who signed their certificates
  HEGEMON_CURL       more options for curl, such as '--proxy URL'

A row takes about half a minute, with --compose about two. If something fails, what the nodes wrote is kept, and where
is said.

Exit codes: 0 all jobs completed and every leader was succeeded, 1 not so, 2 wrong use, or something is missing.
HELP
}

die() {
    echo "test-algorithms.sh: $*" >&2
    exit 2
}

# give_up FILE WHAT: a cluster that does not come up.
give_up() {
    cat "$1" >&2
    echo "test-algorithms.sh: $2" >&2
    failed=1
    exit 1
}

nodes=${NODES:-3} jobs=${JOBS:-60} calm=${CALM:-5} port=${PORT:-28080} patience=${PATIENCE:-30}
patience_ms=$((patience * 1000))
mode=urls engine=docker composer=()
# Seconds that who stepped down stays out of the election.
away=3
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
work=$(mktemp -d)
logs=$work/data/logs
# Of the cluster that is tried: the process of --local, or the project of --compose; a node that is paused.
started='' project='' paused=''
failed=0
urls=()

# What this made, and nothing else, ends with it.
stop_started() {
    [ -z "$paused" ] || undo pause "$paused" >/dev/null 2>&1 || true
    [ -z "$started" ] || { kill -TERM "$started" 2>/dev/null || true; wait "$started" 2>/dev/null || true; }
    if [ -n "$project" ]; then
        step 'down'
        if [ "$failed" -ne 0 ]; then
            mkdir -p "$logs"
            compose logs >"$logs/$project.log" 2>&1 || true
        fi
        compose down --volumes --timeout 1 >"$work/down.log" 2>&1 || { cat "$work/down.log" >&2 && failed=1; }
    fi
    started='' project='' paused=''
}
# A cluster that failed leaves what its nodes wrote, and nothing to log in with.
# shellcheck disable=SC2317,SC2329 # the trap calls it
clean_up() {
    rm -f "$work/login" "$work/token" "$work/curlrc"
    stop_started
    if [ "$failed" -ne 0 ] && [ -d "$logs" ]; then
        echo "what the nodes wrote: $logs" >&2
    else
        rm -rf "$work"
    fi
}
trap 'clean_up' EXIT
trap 'exit 130' INT TERM

# What curl is told beside its command line, where everybody on this machine could read a token.
umask 077
: >"$work/why"

# credentials TOKEN CA_FILE: what curl shows, and whom it trusts; either may be empty.
credentials() {
    : >"$work/curlrc"
    [ -z "$1" ] || printf 'header = "Authorization: Bearer %s"\n' "$1" >>"$work/curlrc"
    [ -z "$2" ] || printf 'cacert = "%s"\n' "$2" >>"$work/curlrc"
    # No proxy knows the nodes that this started.
    [ "$mode" = urls ] || echo 'noproxy = "127.0.0.1"' >>"$work/curlrc"
}

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
    curl -K "$work/curlrc" -fsS -m "${limit:-10}" ${HEGEMON_CURL:-} -X "$1" ${body[@]+"${body[@]}"} "$2" 2>"$work/why"
}

# look [URL]: sets leader, epoch and at to the active node of the newest epoch, by what each node says of itself. All
# are asked at once, but for the one at URL, which is paused or gone: its silence would be measured as well.
look() {
    local found url limit=2
    found=$(
        for url in "${urls[@]}"; do
            [ "$url" = "${1:-}" ] || {
                api GET "$url/api/v1/election" |
                    jq -r --arg url "$url" 'select(.active) | "\(.epoch) \(.node_id) \($url)"' || true
            } &
        done | sort -rn | head -n 1
    )
    [ -n "$found" ] && read -r epoch leader at <<<"$found"
}

# succeeded EPOCH SINCE_MS [URL]: waits for an active leader of a newer epoch; took is the time since then.
succeeded() {
    while [ $(($(now_ms) - $2)) -lt $patience_ms ]; do
        if look "${3:-}" && [ "$epoch" -gt "$1" ]; then
            took="$(($(now_ms) - $2)) ms"
            return 0
        fi
    done
    return 1
}

# settled: waits until every node is ready and the same one leads for a second.
settled() {
    local until_ms=$(($(now_ms) + patience_ms)) url before
    while [ "$(now_ms)" -lt "$until_ms" ]; do
        for url in "${urls[@]}"; do api GET "$url/readyz" >/dev/null || continue 2; done
        look || continue
        before=$epoch
        sleep 1
        if look && [ "$epoch" -eq "$before" ]; then return 0; fi
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
# at least once, unless nobody answers any more by then; those that did not complete are named.
completed() {
    local until_ms=$(($(now_ms) + patience_ms)) count=0 id state silent='' limit=2
    sed 's/$/ unseen/' "$work/ids" >"$work/open"
    while :; do
        : >"$work/rest"
        while read -r id state; do
            if [ "$(now_ms)" -lt "$until_ms" ] || [ "$state$silent" = unseen ]; then
                if state=$(status "$id"); then silent=''; else state=unknown silent=yes; fi
            fi
            case $state in
            completed) count=$((count + 1)) ;;
            failed | cancelled) echo "job $id has $state" >&2 ;;
            *) echo "$id $state" >>"$work/rest" ;;
            esac
        done <"$work/open"
        if [ ! -s "$work/rest" ] || [ "$(now_ms)" -ge "$until_ms" ]; then break; fi
        cp "$work/rest" "$work/open"
        sleep 0.1
    done
    sed 's/^\([^ ]*\) \(.*\)/job \1 is still \2/' "$work/rest" >&2
    echo "$count"
}

compose() {
    "${composer[@]}" -p "$project" -f "$root/compose/compose.${project##*-}.yml" "$@"
}

# container NODE: its id, whatever the composer names it.
container() {
    "$engine" ps --all --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1"
}

# pid NODE: its process under --local.
pid() {
    jq -r --arg id "$1" '.nodes[] | select(.id == $id) | .pid' "$work"/data/cluster.json
}

# inflict FAULT NODE: on the node that leads.
inflict() {
    case $1 in
    step-down) api POST "$at/api/v1/election/step-down" "{\"pause\": $away}" || { cat "$work/why" && return 1; } ;;
    pause)
        paused=$2
        if [ -n "$project" ]; then "$engine" pause "$(container "$2")"; else kill -STOP "$(pid "$2")"; fi
        ;;
    cut) "$engine" network disconnect "${project}_default" "$(container "$2")" ;;
    kill)
        if [ -n "$project" ]; then
            "$engine" kill "$(container "$2")"
        elif [ -n "$started" ]; then
            kill -9 "$(pid "$2")"
        else
            sh -c "${HEGEMON_KILL//\{\}/$2}"
        fi
        ;;
    esac
}

# undo FAULT NODE: what the next fault begins with is a whole cluster; the kill is the last one.
undo() {
    local it
    case $1 in
    step-down) sleep $away ;; # another change when it may lead again would be in the middle of the next fault
    pause)
        paused=''
        if [ -n "$project" ]; then "$engine" unpause "$(container "$2")"; else kill -CONT "$(pid "$2")"; fi
        ;;
    cut)
        # Not every engine publishes the ports of a container again that comes back to its network: a new start does.
        it=$(container "$2")
        "$engine" network connect --alias "$2" "${project}_default" "$it" && "$engine" stop "$it" && "$engine" start "$it"
        ;;
    esac
}

start_local() {
    local hegemon=$root/.venv/bin/hegemon deadline=$((SECONDS + 4 * patience)) i
    [ -x "$hegemon" ] || hegemon=$(command -v hegemon) || die "there is no hegemon; run ./dev test once, or install it"
    step starting
    rm -rf "$work/data"
    : >"$work/up.log"
    # Workers import the example handlers from where they lie.
    (cd "$root" && METRICS_PORT=0 exec "$hegemon" up --nodes "$nodes" --algorithm "$1" --port "$port" \
        --data "$work/data" --handlers examples.jobs) >"$work/up.log" 2>&1 &
    started=$!
    until grep -q 'Ctrl-C stops' "$work/up.log"; do
        kill -0 "$started" 2>/dev/null || give_up "$work/up.log" 'the cluster did not start'
        [ $SECONDS -lt $deadline ] || give_up "$work/up.log" 'it was not ready in time'
        sleep 0.1
    done
    urls=()
    for ((i = 0; i < nodes; i++)); do urls+=("http://127.0.0.1:$((port + i))"); done
}

# check_compose: what --compose needs is there, and nothing is in its way; else it says what to do.
check_compose() {
    local running
    [ ${#composer[@]} -gt 0 ] || case $engine in docker) composer=(docker compose) ;; podman) composer=(podman-compose) ;; esac
    command -v "$engine" >/dev/null || die "there is no $engine: install it, name the other with --engine, or use --local"
    command -v "${composer[0]}" >/dev/null || die "there is no ${composer[0]}: install it, or name yours in COMPOSE"
    "${composer[@]}" version >"$work/why" 2>&1 || die "${composer[*]} does not work: $(cat "$work/why")"
    "$engine" info >"$work/why" 2>&1 || die "$engine does not answer: $(tail -n 1 "$work/why")"
    for made in .env node.env secrets/tls/ca.pem; do
        [ -e "$root/compose/$made" ] || die "there is no compose/$made: run compose/init first"
        [ -r "$root/compose/$made" ] || die "compose/$made may not be read: run this as its owner"
    done
    grep -Eq '^HANDLERS=([^#]*,)?examples\.jobs' "$root/compose/node.env" ||
        die "HANDLERS in compose/node.env lacks examples.jobs, which has the jobs that this submits"
    running=$("$engine" ps --format '{{.Names}}' | grep -E '^hegemon-(test-)?(bully|raft|gossip)[-_]' | head -n 1) || true
    [ -z "$running" ] || die "$running runs, on the ports that this needs: take that cluster down first"
}

start_compose() {
    local password count i
    project=hegemon-test-$1
    step 'coming up'
    # On loopback and without extra nodes, whatever compose/.env says: those would have no port to be asked at.
    export HEGEMON_BIND=127.0.0.1 HEGEMON_EXTRA=0
    compose up --detach >"$work/up.log" 2>&1 || give_up "$work/up.log" 'the cluster did not come up'
    count=$(grep -c '^    hostname: node-' "$root/compose/compose.$1.yml")
    urls=()
    for ((i = 0; i < count; i++)); do urls+=("https://127.0.0.1:$((8080 + i))"); done
    password=$(sed -n "s/^ADMIN_PASSWORD=[\"']\{0,1\}\([^\"']*\).*/\1/p" "$root/compose/.env" | tail -n 1)
    jq -n --arg password "$password" '{username: "admin", $password}' >"$work/login"
    # Stores and nodes start for the first time.
    log_in $((patience > 120 ? patience : 120)) || give_up "$work/why" 'nobody could log in'
}

# log_in [SECONDS]: with --compose, waiting that long for a node. What it gets ends after ten minutes (ACCESS_TOKEN_TTL),
# which a slow run outlasts: so it is called again and again.
log_in() {
    local url until_ms=$(($(now_ms) + ${1:-$patience} * 1000)) ca=$root/compose/secrets/tls/ca.pem
    [ -n "$project" ] || return 0
    credentials '' "$ca"
    while :; do
        for url in "${urls[@]}"; do
            if api POST "$url/auth/login" "@$work/login" >"$work/token"; then
                credentials "$(jq -r .access_token "$work/token")" "$ca"
                return 0
            fi
        done
        [ "$(now_ms)" -lt "$until_ms" ] || return 1
        sleep 0.5
    done
}

row='%-10s %-8s %9s %11s %11s %11s %11s %11s %s\n'

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

# refuse WHAT [WHY]: nothing more is tried, and the row says WHAT.
refuse() {
    verdict=$1
    [ ! -s "${2:-/dev/null}" ] || printf '\n%s: %s: %s\n' "$name" "$1" "$(cat "$2")" >&2
}

# fault FAULT: does it to the leader, with jobs under way; took is what it took until another was active.
fault() {
    local victim='' before gone='' since tries=5 due=$part
    took='-'
    [ "$verdict" = ok ] || return 0
    while [ -z "$victim" ]; do
        step "before the $1"
        log_in || { refuse 'nobody logs in' "$work/why" && return; }
        settled || { refuse 'nobody leads' "$work/why" && return; }
        before=$epoch
        submit "$due" || { refuse 'jobs refused' "$work/why" && return; }
        due=0 tries=$((tries - 1))
        # Meanwhile another may have become the leader, and does so now and then on a machine that is busy.
        if look && [ "$epoch" -eq "$before" ]; then
            step "$1 of $leader"
            since=$(now_ms)
            if inflict "$1" "$leader" >"$work/said" 2>&1; then victim=$leader; fi
        fi
        [ -n "$victim" ] || [ $tries -gt 0 ] || { refuse "no $1" "$work/said" && took=never && return; }
    done
    [ "$1" = step-down ] || gone=$at
    succeeded "$before" "$since" "$gone" || { refuse 'no successor' && took=never; }
    undo "$1" "$victim" >"$work/said" 2>&1 || refuse "the $1 stays" "$work/said"
}

# One cluster's row.
try_cluster() {
    local needless=- done_jobs verdict=ok part down paused_for=- cut=- killed=-
    part=$((jobs / 5))
    : >"$work/ids"
    step 'in calm'
    if settled && submit $part; then
        needless=$epoch
        sleep "$calm"
        if settled; then needless=$((epoch - needless)); else needless=-; fi
    else
        refuse 'nobody leads' "$work/why"
    fi
    fault step-down && down=$took
    # What there is to pause or cut with.
    [ -z "$started$project" ] || { fault pause && paused_for=$took; }
    [ -z "$project" ] || { fault cut && cut=$took; }
    [ -z "$started$project${HEGEMON_KILL:-}" ] || { fault kill && killed=$took; }
    [ "$verdict" != ok ] || log_in || refuse 'nobody logs in' "$work/why"
    [ "$verdict" != ok ] || submit $((jobs - $(wc -l <"$work/ids"))) || refuse 'jobs refused' "$work/why"
    step 'the last jobs'
    log_in || [ "$verdict" != ok ] || refuse 'nobody logs in' "$work/why"
    done_jobs=$(completed)
    [ "$verdict" != ok ] || [ "$done_jobs" -eq "$jobs" ] || verdict='JOBS MISSING'
    [ "$verdict" = ok ] || failed=1
    show "$name" "${#urls[@]} nodes" "$needless" "$down" "$paused_for" "$cut" "$killed" "$done_jobs/$jobs" "$verdict"
}

case ${1:-} in
-h | --help) usage && exit 0 ;;
'') usage >&2 && exit 2 ;;
--local | --compose) mode=${1#--} && shift ;;
esac
for tool in curl jq; do command -v $tool >/dev/null || die "needs $tool"; done
if [ "$mode" != urls ]; then
    if [ "${1:-}" = --engine ]; then
        [ "$mode" = compose ] || die "--engine goes with --compose"
        case ${2:-} in docker | podman) engine=$2 && shift 2 ;; *) die "--engine is docker or podman" ;; esac
    fi
    [ $# -gt 0 ] || set -- bully raft gossip
    for name in "$@"; do
        case $name in bully | raft | gossip) ;; *) die "$name: no algorithm; there are bully, raft and gossip" ;; esac
    done
else
    for cluster in "$@"; do
        case $cluster in *=http*) ;; *) die "$cluster: write ALGORITHM=URL[,URL...]" ;; esac
    done
fi
[ -z "${COMPOSE:-}" ] || read -r -a composer <<<"$COMPOSE"
[ "$mode" != compose ] || check_compose
credentials "${HEGEMON_TOKEN:-${HEGEMON_API_KEY:-}}" "${HEGEMON_CA_FILE:-}"
show ALGORITHM CLUSTER NEEDLESS STEP-DOWN PAUSE CUT 'KILL -9' COMPLETED RESULT
for cluster in "$@"; do
    name=${cluster%%=*}
    case $mode in
    urls) IFS=, read -r -a urls <<<"${cluster#*=}" ;;
    local) credentials '' '' && start_local "$name" ;;
    compose) start_compose "$name" ;;
    esac
    try_cluster
    stop_started
    # The first failure is the one to look at.
    [ "$failed" -eq 0 ] || [ "$mode" = urls ] || break
done
exit $failed
