#!/usr/bin/env bash
# Makes sure that the programs which a make target starts are there: `test`, or the one that is named. As root on Debian it
# installs what is missing, without questions; elsewhere it says what is missing and how to get it, and fails.
set -euo pipefail

target=${1:-test}
missing=()
optional=() # Debian packages without which the target does less
need() { # program, Debian package, what for
  command -v "$1" >/dev/null && return
  missing+=("$2")
  echo "make $target needs the program $1 ($3); on Debian: apt-get install --no-install-recommends $2" >&2
}
case $target in
stack)
  need prometheus prometheus "scrapes the service and evaluates its alerts"
  need prometheus-alertmanager prometheus-alertmanager "sends the alerts"
  # The collector is linked with the shared library of the Python for which its wheel was built.
  library=libpython$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [[ $(ldconfig -p 2>/dev/null) == *"$library"* ]] || optional+=("$library")
  ;;
test)
  need curl curl "tries the README's commands"
  need node nodejs "runs the TypeScript SDK as a client"
  need npm npm "installs the TypeScript SDK"
  need openssl openssl "makes a certificate for the upstream connection's TLS test"
  need promtool prometheus "checks and tests metrics and rules"
  need prometheus prometheus "reads the metrics of a real service, for rules, runbooks and dashboards"
  need amtool prometheus-alertmanager "checks who is told of an alert"
  need prometheus-alertmanager prometheus-alertmanager "tells of alerts for real"
  need jq jq "reads JSON in the commands of runbooks"
  need systemd-analyze systemd "reads the unit of the service"
  need nginx nginx "is the load balancer in front of a restarting service"
  need haproxy haproxy "is the load balancer in front of replicas"
  need valkey-server valkey-server "holds the shared log"
  need valkey-cli valkey-tools "makes a cluster"
  need valkey-sentinel valkey-sentinel "lets a replica of the store take over"
  need pg_ctlcluster postgresql "holds the ledger"
  ;;
test-clients)
  need curl curl "is one of the clients"
  need node nodejs "runs the clients that are written in JavaScript"
  need javac default-jdk-headless "runs Java's HttpClient as a client"
  need go golang-go "runs Go's net/http as a client"
  ;;
test-ledger)
  need chromium chromium "shows the page of usage, as a browser does"
  ;;
bench-store)
  need valkey-server valkey-server "holds the shared log"
  ;;
bench-gateway)
  need nginx nginx "is the upstream, and the proxy that nobody beats"
  need wrk wrk "makes the load"
  ;;
esac
[ ${#missing[@]} -eq 0 ] && [ ${#optional[@]} -eq 0 ] && exit

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  [ ${#missing[@]} -eq 0 ] && exit # the target itself says what it does without
  echo "Install what is missing, then run make $target again." >&2
  exit 1
fi
echo "Installing: ${missing[*]} ${optional[*]}" >&2
# RUNLEVEL=1 asks packages not to start their servers: tests start those that they need.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
# Another installation may be under way on a shared machine: wait for its lock.
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
[ ${#missing[@]} -eq 0 ] || "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
[ ${#optional[@]} -eq 0 ] || "${apt[@]}" install -y --no-install-recommends "${optional[@]}" >/dev/null || true
