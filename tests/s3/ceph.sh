#!/usr/bin/env bash
# A real S3 server on loopback, for tests: Ceph's gateway over one monitor and one object daemon, in a folder.
#
#   ceph.sh install            Debian's packages, if they are not there; says why where it cannot
#   ceph.sh new DIR            make a cluster in DIR and start it
#   ceph.sh start|stop|kill DIR
#
# It keeps everything on disk, outlives `kill` (kill -9 of all three), and checks credentials. CEPH_PORT is the
# gateway's (7480), and with it go those 10000 and 20000 above: clusters of other ports run beside each other.
set -euo pipefail

PORT=${CEPH_PORT:-7480}
MONITOR="[v2:127.0.0.1:$((PORT + 10000)),v1:127.0.0.1:$((PORT + 20000))]"
export AWS_ACCESS_KEY_ID=${CEPH_ACCESS_KEY:-tester} AWS_SECRET_ACCESS_KEY=${CEPH_SECRET_KEY:-secret-of-tester}
verb=$1

install() {
    local one missing=
    for one in radosgw ceph-osd ceph-mon ceph curl; do command -v $one >/dev/null || missing=$one; done
    [ -z "$missing" ] && return
    local quick=(-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20)
    [ "$(id -u)" = 0 ] || { echo "ceph.sh: Ceph is not installed, and installing it needs root" >&2; exit 1; }
    command -v apt-get >/dev/null || { echo "ceph.sh: Ceph is not installed, and there is no apt-get" >&2; exit 1; }
    apt-get update "${quick[@]}" && DEBIAN_FRONTEND=noninteractive apt-get install "${quick[@]}" -y \
        --no-install-recommends ceph-mon ceph-osd radosgw ceph-common curl >/dev/null ||
        { echo "ceph.sh: apt-get could not install Ceph" >&2; exit 1; }
}

wait_for() { # seconds, then a command that is to succeed
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { echo "ceph.sh: $* did not succeed in time; see $DIR/log" >&2; exit 1; }
        sleep 0.2
    done
}

configure() {
    cat >"$CEPH_CONF" <<CONF
[global]
fsid = $FSID
mon host = $MONITOR
public network = 127.0.0.0/8
keyring = $DIR/keyring
run dir = $DIR
admin socket = $DIR/\$name.asok
log file = $DIR/log/\$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
auth allow insecure global id reclaim = true
[mon.a]
mon data = $DIR/mon
# The disk is the test machine's, and may be fuller than a cluster likes.
mon data avail warn = 2
mon data avail crit = 1
[osd.0]
osd data = $DIR/osd
osd class update on start = true
crush location = root=default host=here
bluestore block size = 8589934592
bluestore fsck on mount = false
osd memory target = 939524096
[client.gateway]
rgw data = $DIR
# Without it every answer waits 40 ms for an acknowledgement that is being delayed.
rgw frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw run sync thread = false
rgw crypt require ssl = false
CONF
}

make() {
    rm -rf "$DIR"
    mkdir -p "$DIR"/{mon,osd,log}
    FSID=$(cat /proc/sys/kernel/random/uuid)
    configure
    ceph-authtool --create-keyring "$DIR/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
    for who in client.admin osd.0 client.gateway; do
        ceph-authtool "$DIR/keyring" --gen-key -n $who --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
    done
    monmaptool --create --fsid "$FSID" --addv a "$MONITOR" "$DIR/monmap" >/dev/null
    # The monitor takes its keyring for its own; others go on reading the first.
    cp "$DIR/keyring" "$DIR/monitors"
    ceph-mon --mkfs -i a --monmap "$DIR/monmap" --keyring "$DIR/monitors" >/dev/null
    ceph-mon -i a --pid-file "$DIR/mon.pid"
    local osd
    osd=$(cat /proc/sys/kernel/random/uuid)
    timeout 30 ceph osd new "$osd" >/dev/null
    ceph-osd -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
    launch_osd
    timeout 60 radosgw-admin user create --uid tester --display-name tester \
        --access-key "$AWS_ACCESS_KEY_ID" --secret-key "$AWS_SECRET_ACCESS_KEY" >/dev/null 2>&1
    launch_gateway
}

osd_is_up() { timeout 5 ceph osd stat | grep -q '1 up'; }
launch_osd() {
    ceph-osd -i 0 --pid-file "$DIR/osd.pid" >/dev/null 2>&1
    wait_for 40 osd_is_up
}

launch_gateway() {
    nohup radosgw -f -n client.gateway >"$DIR/log/gateway.out" 2>&1 &
    echo $! >"$DIR/rgw.pid"
    wait_for 60 curl --silent --output /dev/null "http://127.0.0.1:$PORT"
}

signal() {
    for one in rgw osd mon; do
        [ -f "$DIR/$one.pid" ] && kill "$1" "$(cat "$DIR/$one.pid")" 2>/dev/null || true
    done
}

[ "$verb" = install ] && { install; exit; }
DIR=$(realpath -m "${2:?the folder of the cluster}")
export CEPH_CONF=$DIR/ceph.conf
case $verb in
    new) make ;;
    start)
        ceph-mon -i a --pid-file "$DIR/mon.pid"
        launch_osd
        launch_gateway
        ;;
    stop) signal -TERM ;;
    kill) signal -KILL ;;
    *) echo "ceph.sh: install, new, start, stop or kill was wanted, got $verb" >&2; exit 2 ;;
esac
