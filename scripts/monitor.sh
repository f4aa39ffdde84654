#!/bin/sh
# A live view of any cluster in a plain shell: each node's own role, term and epoch, and every change of leadership.
# Needs curl and jq. Ctrl-C ends it.
set -eu

usage() {
    cat <<'HELP'
usage: scripts/monitor.sh [-n SECONDS] [-c COUNT] [URL...]

Asks the nodes at the URLs (default: HEGEMON_URL, else http://127.0.0.1:8080), and those that they know of, every
SECONDS (default 1), COUNT times (default: until Ctrl-C). At a terminal the screen is drawn anew; piped, each look is
one line a node.

For nodes that want credentials or speak TLS: HEGEMON_TOKEN or HEGEMON_API_KEY, of any role but worker, and
HEGEMON_CA_FILE, who signed their certificates. HEGEMON_CURL holds more options for curl, such as "--proxy URL".
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
case $1 in https://*) scheme=https:// ;; *) scheme=http ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
last=''
changes=''

# What curl is told beside its command line, where everybody on this machine could read a token.
umask 077
: >"$work/curlrc"
token=${HEGEMON_TOKEN:-${HEGEMON_API_KEY:-}}
[ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token" >>"$work/curlrc"
[ -z "${HEGEMON_CA_FILE:-}" ] || printf 'cacert = "%s"\n' "$HEGEMON_CA_FILE" >>"$work/curlrc"

# ask URL: its view of the election in a file of its own; an empty one if it does not answer, and why in another.
ask() {
    name=$(printf '%s' "$1" | tr -c 'A-Za-z0-9' _)
    printf '%s\n' "$1" >"$work/$name.url"
    # A token goes only to nodes that are asked as safely as the first.
    case $1 in "$scheme"*) config=$work/curlrc ;; *) config=/dev/null ;; esac
    # shellcheck disable=SC2086 # the options are words
    curl -K "$config" -fsS -m 1 ${HEGEMON_CURL:-} "$1/api/v1/election" >"$work/$name.view" 2>"$work/$name.why" ||
        : >"$work/$name.view"
}

# why FILE: what curl said of a node that gave no view.
why() {
    case $(cat "$1") in
    *' 401'*) echo 'no token' ;;
    *' 403'*) echo 'wrong role' ;;
    *SSL* | *certificate*) echo 'untrusted' ;;
    *) echo 'no answer' ;;
    esac
}

# advise: what to do about each of these.
advise() {
    for file in "$work"/*.why; do why "$file"; done | sort -u | while read -r word; do
        case $word in
        'no token') echo 'no token: it wants HEGEMON_TOKEN or HEGEMON_API_KEY, or another one' ;;
        'wrong role') echo 'wrong role: the token must be of a viewer, a user or an admin' ;;
        untrusted) echo 'untrusted: HEGEMON_CA_FILE names who signed its certificate' ;;
        esac
    done
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
            printf "$row" - "$(why "${view%.view}.why")" - - - - "$url"
        fi
    done
    advise
}

looks=0
while [ "$count" -eq 0 ] || [ "$looks" -lt "$count" ]; do
    rm -f "$work"/*.view "$work"/*.url "$work"/*.why
    for url in "$@"; do ask "$url" & done
    wait
    # Whom the nodes know of is asked from now on, too: the one named here may die.
    known=$(cat "$work"/*.view | jq -rs '[.[].members[]? | select(.health != "dead" and .health != "left") | .url // empty] | unique[]')
    for url in $known; do
        case " $* " in *" $url "*) ;; *) set -- "$@" "$url" && ask "$url" ;; esac
    done
    now=$(cat "$work"/*.view | jq -rs '[.[] | select(.active)] | max_by(.epoch) | if . then "\(.node_id) leads in epoch \(.epoch)" else "nobody leads" end')
    [ -n "$(cat "$work"/*.view)" ] || now='no node answers'
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
    if [ "$count" -eq 0 ] || [ "$looks" -lt "$count" ]; then sleep "$pause"; fi
done
