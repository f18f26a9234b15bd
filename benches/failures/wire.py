"""What reached the members, seen on the wire: the same for all proxies, and also where a member is dead or stopped.

An attempt is the head of a request on its way to a member, or a connection that was begun and on which nothing was ever
sent, as to a member that is gone. Probes are told by their path.
"""

import bisect
import os
import signal
import struct
import subprocess
import time

import members

# Over so long the share of a member is counted.
WINDOW = 0.5


class Capture:
    def __init__(self, file):
        self.file = file
        sent = f"tcp dst port {members.PORT} and tcp[tcpflags] & (tcp-syn|tcp-push) != 0"
        self.process = subprocess.Popen(["tcpdump", "-i", "lo", "-s", "120", "-B", "8192", "-U", "--immediate-mode", "-w", file, sent],
                                        stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.process.stderr.readline():
            pass

    def end(self):
        time.sleep(0.3)
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate()[1]
        if "\n0 packets dropped" not in "\n" + said:
            print("    (packets were lost: the times to eject and return are of those seen)")
        attempts = parse(self.file)
        os.remove(self.file)
        return attempts


def parse(file):
    """Times of attempts by member address, in order."""
    with open(file, "rb") as pcap:
        data = pcap.read()
    begun, attempts, at = {}, {}, 24
    while at + 16 <= len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        packet = data[at + 16:at + 16 + length]
        at += 16 + length
        if len(packet) < length or packet[12:14] != b"\x08\x00":
            continue
        ip = packet[14:]
        tcp = ip[(ip[0] & 15) * 4:]
        member = ".".join(map(str, ip[16:20]))
        flow = (member, ip[12:16], tcp[:2])
        when = seconds + micros / 1e6
        if tcp[13] & 2:
            begun.setdefault(flow, when)
            continue
        begun.pop(flow, None)
        payload = tcp[(tcp[12] >> 4) * 4:]
        if payload[:7] in (b"GET /n/", b"POST /n"):
            attempts.setdefault(member, []).append(when)
    for (member, _, _), when in begun.items():
        attempts.setdefault(member, []).append(when)
    return {member: sorted(times) for member, times in attempts.items()}


def last_share(times, begin, end, usual):
    """Seconds from `begin` to the last attempt with a fifth of the usual share behind it; None if there is one at `end`."""
    least = usual * WINDOW / 5
    last = 0.0
    for number, when in enumerate(times):
        if begin <= when < end and number + 1 - bisect.bisect_right(times, when - WINDOW) >= least:
            last = when - begin
    return None if last > end - begin - WINDOW / 2 else last


def first_share(times, begin, end, usual):
    """Seconds from `begin` until half the usual share is served again; None if that is not before `end`."""
    for when in times[bisect.bisect_left(times, begin):]:
        if when > end - WINDOW:
            return None
        if bisect.bisect_left(times, when + WINDOW) - bisect.bisect_left(times, when) >= usual * WINDOW / 2:
            return when - begin
    return None
