"""The C library's peer of bench/peers.ts: libvirt.so through Debian's python3-libvirt, over qemu+ssh as virsh does it, with one
ssh process a connection. A simulated host runs no commands, so there the ssh process forwards the socket (`ssh -N -L`) and the
library opens that. It answers one JSON line for each that it reads; see client.ts for what is asked. CPU time is that of this
process and its children, living or ended."""

import json
import os
import resource
import subprocess
import sys
import time

import libvirt

target = json.loads(sys.argv[1])
libvirt.registerErrorHandler(lambda _context, _error: None, None)
forwardDeadlineSeconds = 20


class Connection:
    made = 0

    def __init__(self, host):
        Connection.made += 1
        self.forward = None
        if target["via"] == "qemu+ssh":
            uri = "qemu+ssh://%s@%s:%d/system?keyfile=%s" % (
                target["user"], host["address"], host["port"], target["keyFile"])
        else:
            path = "%s/c-%d-%d.sock" % (target["dir"], os.getpid(), Connection.made)
            self.forward = forward(host, path)
            uri = "qemu+unix:///system?socket=" + path
        self.connection = libvirt.openReadOnly(uri)
        # The last answer, kept as a collector would.
        self.sample = []

    def poll(self):
        self.sample = self.connection.getAllDomainStats(target["groups"], target["flags"])

    def close(self):
        self.sample = []
        self.connection.close()
        if self.forward:
            self.forward.terminate()
            self.forward.wait()


def forward(host, path):
    child = subprocess.Popen(
        ["ssh", "-F", "none", "-N", "-q", "-i", target["keyFile"], "-p", str(host["port"]), "-L", path + ":" + target["socket"],
         "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=" + target["knownHosts"],
         "-o", "ExitOnForwardFailure=yes", target["user"] + "@" + host["address"]])
    end = time.monotonic() + forwardDeadlineSeconds
    while not listens(path):
        if time.monotonic() > end or child.poll() is not None:
            raise RuntimeError("ssh does not forward " + path)
        time.sleep(0.02)
    return child


def listens(path):
    with open("/proc/net/unix") as file:
        # Flags: 00010000 once it accepts; the path alone is there a moment before.
        return any(line.split()[3] == "00010000" for line in file if line.rstrip().endswith(" " + path))


def children():
    with open("/proc/self/task/%d/children" % os.getpid()) as file:
        return [int(pid) for pid in file.read().split()]


def cpuMs():
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += (usage.ru_utime + usage.ru_stime) * 1000
    for pid in children():
        with open("/proc/%d/schedstat" % pid) as file:
            total += int(file.read().split()[0]) / 1e6
    return total


def residentBytes():
    """Of this process, and the proportional share of each child: they share ssh's program text."""
    def kib(pid, field):
        with open("/proc/%s/smaps_rollup" % pid) as file:
            return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))
    return 1024 * (kib("self", "Rss") + sum(kib(pid, "Pss") for pid in children()))


def main():
    opened = []
    for line in sys.stdin:
        request = json.loads(line)
        before = cpuMs()
        answer = {}
        times = request.get("times", 0)
        if request["do"] == "connect":
            for number in range(times):
                opened.append(Connection(target["hosts"][number % len(target["hosts"])]))
        elif request["do"] == "poll":
            for _ in range(times):
                for connection in opened:
                    connection.poll()
        elif request["do"] == "close":
            kept = len(opened) - times
            for connection in opened[kept:]:
                connection.close()
            del opened[kept:]
        elif request["do"] == "memory":
            answer["bytes"] = residentBytes()
        elif request["do"] == "version":
            answer["version"] = "libvirt %d, python %s" % (libvirt.getVersion(), sys.version.split()[0])
        answer["cpuMs"] = cpuMs() - before
        answer["domains"] = sum(len(connection.sample) for connection in opened)
        answer["fields"] = sum(len(fields) for connection in opened for _, fields in connection.sample)
        print(json.dumps(answer), flush=True)
    for connection in opened:
        connection.close()


main()
