#!/bin/sh
# A live view of any cluster in a plain shell: each node's own role, term and epoch, and every change of leadership.
# Needs curl and jq. Ctrl-C ends it.
set -eu

usage() {
    cat <<'HELP'
usage: scripts/monitor.sh [-n SECONDS] [-c COUNT] [URL...]

Asks the nodes at the URLs (default: HEGEMON_URL, else http://127.0.0.1:8080), and those that they know of, every
SECONDS (default 1), COUNT times (default: until Ctrl-C). At a terminal the screen is drawn anew; piped, each look is
one line a node. HEGEMON_CURL holds more options for curl, such as "--cacert ca.pem".
HELP
}

pause=1
count=0
while getopts n:c:h option; do
    case $option in
    n) pause=$OPTARG ;;
    c) count=$OPTARG ;;
    h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
for tool in curl jq; do
    command -v "$tool" >/dev/null 2>&1 || { echo "monitor.sh: needs $tool" >&2 && exit 2; }
done
[ $# -gt 0 ] || set -- "${HEGEMON_URL:-http://127.0.0.1:8080}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
last=''
changes=''

# ask URL: its view of the election in a file of its own, an empty one if it does not answer.
ask() {
    name=$(printf '%s' "$1" | tr -c 'A-Za-z0-9' _)
    # shellcheck disable=SC2086 # the options are words
    curl -fsS -m 1 ${HEGEMON_CURL:-} "$1/api/v1/election" >"$work/$name.view" 2>/dev/null || : >"$work/$name.view"
    printf '%s\n' "$1" >"$work/$name.url"
}

row='%-14s %-10s %-7s %6s %6s  %-14s %s\n'
draw() {
    # shellcheck disable=SC2059 # one form for every row
    printf "$row" NODE ROLE ACTIVE TERM EPOCH LEADER URL
    for view in "$work"/*.view; do
        url=$(cat "${view%.view}.url")
        # shellcheck disable=SC2059
        if [ -s "$view" ]; then
            jq -r --arg url "$url" '[.node_id, .role, .active, .term, .epoch, .leader_id // "-", $url] | @tsv' "$view" |
                while IFS='	' read -r node role active term epoch leader place; do
                    printf "$row" "$node" "$role" "$active" "$term" "$epoch" "$leader" "$place"
                done
        else
            printf "$row" - 'no answer' - - - - "$url"
        fi
    done
}

looks=0
while [ "$count" -eq 0 ] || [ "$looks" -lt "$count" ]; do
    rm -f "$work"/*.view "$work"/*.url
    for url in "$@"; do ask "$url" & done
    wait
    # Whom the nodes know of is asked from now on, too: the one named here may die.
    known=$(cat "$work"/*.view | jq -rs '[.[].members[]? | select(.health != "dead" and .health != "left") | .url // empty] | unique[]')
    for url in $known; do
        case " $* " in *" $url "*) ;; *) set -- "$@" "$url" && ask "$url" ;; esac
    done
    now=$(cat "$work"/*.view | jq -rs '[.[] | select(.active)] | max_by(.epoch) | if . then "\(.node_id) leads in epoch \(.epoch)" else "nobody leads" end')
    if [ "$now" != "$last" ]; then
        last=$now
        changes="$changes$(date +%H:%M:%S)  $now
"
    fi
    if [ -t 1 ]; then
        printf '\033[H\033[2J'
        draw
        printf '\nCHANGES\n%s' "$(printf '%s' "$changes" | tail -n 10)"
        echo
    else
        date +"%H:%M:%S  $now"
        draw
    fi
    looks=$((looks + 1))
    [ "$count" -ne 0 ] && [ "$looks" -ge "$count" ] || sleep "$pause"
done
