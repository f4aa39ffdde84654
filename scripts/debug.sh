#!/usr/bin/env bash
# Collects what a bug report needs of a cluster into one archive: versions, election, nodes, figures, events, settings
# without secrets, logs. It changes nothing. Needs bash, curl, jq and tar.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: scripts/debug.sh [-o FILE.tar.gz] [-l LOG]... [-j JOB]... [URL...]

Asks the nodes at the URLs (default: HEGEMON_URL, else http://127.0.0.1:8080), and those that they know of, and packs
the answers into FILE (default: hegemon-debug-TIME.tar.gz here). Read it before you send it on.

  -l LOG     a file with a node's log, or a directory of them, as `hegemon up --data DIR` has in DIR/logs: the last
             2,000 lines of each. May be given again
  -j JOB     the id of a job that the report is about. Its payload, result and log lines are left out. May be given again

For nodes that want credentials or speak TLS: HEGEMON_TOKEN or HEGEMON_API_KEY (of an admin, for the settings), and
HEGEMON_CA_FILE, who signed their certificates. HEGEMON_CURL holds more options for curl, such as "--proxy URL".

What is left out: payloads, results and log lines of jobs; secrets in settings, which a node masks by itself; whatever
looks like a credential in a log, which is masked here.

Exit codes: 0 packed, 1 no node answers (what there is of logs is packed), 2 wrong use.
HELP
}

die() {
    echo "debug.sh: $*" >&2
    exit 2
}

out='' logs=() jobs=()
while getopts o:l:j:h option; do
    case $option in
    o) out=$OPTARG ;;
    l) logs+=("$OPTARG") ;;
    j) jobs+=("$OPTARG") ;;
    h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
for tool in curl jq tar; do command -v "$tool" >/dev/null || die "needs $tool"; done
for log in ${logs[@]+"${logs[@]}"}; do [ -r "$log" ] || die "$log cannot be read"; done
for job in ${jobs[@]+"${jobs[@]}"}; do case $job in *[!A-Za-z0-9-]* | '') die "$job: no job's id" ;; esac; done
[ $# -gt 0 ] || set -- "${HEGEMON_URL:-http://127.0.0.1:8080}"
for url in "$@"; do case $url in http*) ;; *) die "$url: write a node's URL" ;; esac; done
case $1 in https://*) scheme=https:// ;; *) scheme=http ;; esac
name=hegemon-debug-$(date -u +%Y%m%dT%H%M%SZ)
out=${out:-$name.tar.gz}

umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
report=$work/$name
mkdir "$report" "$report/nodes" "$report/logs"
# What curl is told beside its command line, where everybody on this machine could read a token.
: >"$work/curlrc"
token=${HEGEMON_TOKEN:-${HEGEMON_API_KEY:-}}
[ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token" >>"$work/curlrc"
[ -z "${HEGEMON_CA_FILE:-}" ] || printf 'cacert = "%s"\n' "$HEGEMON_CA_FILE" >>"$work/curlrc"

# get URL FILE: the answer, or why there is none, with the time it took in a table.
get() {
    local took config=/dev/null
    # A token goes only to nodes that are asked as safely as the first.
    case $1 in "$scheme"*) config=$work/curlrc ;; esac
    # shellcheck disable=SC2086 # the options are words
    if took=$(curl -K "$config" -sS -m 10 ${HEGEMON_CURL:-} -o "$2" -w '%{http_code} %{time_total} s' "$1" 2>"$work/why"); then
        printf '%s  %s\n' "$took" "$1" >>"$report/answers.txt"
        case $took in 2*) return 0 ;; *) return 1 ;; esac
    fi
    rm -f "$2"
    printf 'none  %s  %s\n' "$1" "$(tr '\n' ' ' <"$work/why")" >>"$report/answers.txt"
    return 1
}

# mask: standard input without what looks like a credential: in a URL, behind the name of a secret, a token, a key.
mask() {
    sed -E \
        -e 's#(://[^:/@[:space:]]*:)[^@[:space:]]+@#\1********@#g' \
        -e 's#((PASSWORD|SECRET|TOKEN|password|secret|token|api_key|API_KEY|ENCRYPTION_KEYS?)[A-Za-z_]*"?[=:][[:space:]]*"?)[^",[:space:]}]+#\1********#g' \
        -e 's#([Bb]earer )[A-Za-z0-9._~+/=-]+#\1********#g' \
        -e 's#eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+#********#g'
}

asked='' answered=0
ask() {
    local url=${1%/} place path
    case " $asked " in *" $url "*) return ;; esac
    asked="$asked $url"
    place=$report/nodes/$(printf '%s' "${url#*://}" | tr -c 'A-Za-z0-9.-' _)
    mkdir "$place"
    printf '%s\n' "$url" >"$place/url.txt"
    for path in health api/v1/cluster api/v1/election api/v1/leader api/v1/nodes api/v1/workers api/v1/stats \
        api/v1/types 'api/v1/activity?limit=200' api/v1/config; do
        local file=${path##*/}
        if get "$url/$path" "$place/${file%%\?*}.json" && [ "$path" = api/v1/election ]; then answered=$((answered + 1)); fi
    done
    get "$url/metrics" "$place/metrics.txt" || true
    # Whom this node knows of.
    if [ -s "$place/election.json" ]; then
        for known in $(jq -r '.members[]? | .url // empty' "$place/election.json" 2>/dev/null); do ask "$known"; done
    fi
}

for url in "$@"; do ask "$url"; done
for job in ${jobs[@]+"${jobs[@]}"}; do
    for url in $asked; do
        get "$url/api/v1/jobs/$job" "$work/job" || continue
        jq '.payload = "left out" | .result = "left out" | .logs = ["left out"]' "$work/job" >"$report/job-$job.json"
        break
    done
done
for log in ${logs[@]+"${logs[@]}"}; do
    if [ -d "$log" ]; then files=("$log"/*); else files=("$log"); fi
    for file in "${files[@]}"; do
        [ ! -f "$file" ] || tail -n 2000 "$file" | mask >"$report/logs/$(basename "$file")"
    done
done
{
    date -u +%Y-%m-%dT%H:%M:%SZ
    uname -srm
    # Only what is there says its version.
    for program in python3 docker podman redis-server mongod; do
        ! command -v "$program" >/dev/null || printf '%s: %s\n' "$program" "$("$program" --version 2>&1 | head -n 1)"
    done
} >"$report/machine.txt"
{
    echo "asked:$asked"
    echo "$answered answered"
    echo
    for file in "$report"/nodes/*/election.json; do
        [ -s "$file" ] || continue
        jq -r '"\(.node_id): \(.role), active \(.active), leader \(.leader_id // "nobody"), term \(.term), epoch \(.epoch), " +
            ([.members[]? | "\(.id) \(.health) \(.version // "?")"] | join("; "))' "$file" 2>/dev/null || echo "$file: no election"
    done
} >"$report/summary.txt"
tar -C "$work" -czf "$out" "$name"
cat "$report/summary.txt"
echo
echo "packed: $out. Read it before you send it on."
[ "$answered" -gt 0 ] || exit 1
