"""A DNS server for one name, that can be told to go wrong. UDP, A records, TTL 1."""

import socket
import struct
import threading

PORT = 15353
TTL = 1


class Dns(threading.Thread):
    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses = addresses
        # Or `servfail`, `silent`, `nxdomain`.
        self.mode = "good"
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", PORT))
        self.ends = False

    def run(self):
        while True:
            query, asker = self.socket.recvfrom(4096)
            if self.ends:
                return
            self.asked += 1
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, asker)

    def end(self):
        self.ends = True
        self.socket.sendto(b"", ("127.0.0.1", PORT))
        self.join(5)
        self.socket.close()

    def answer(self, query):
        if self.mode == "silent":
            return None
        end = 12
        while query[end]:
            end += query[end] + 1
        question = query[12:end + 5]
        kind = struct.unpack("!H", question[-4:-2])[0]
        code = {"servfail": 2, "nxdomain": 3}.get(self.mode, 0)
        # Other kinds of records: there are none.
        addresses = self.addresses if kind == 1 and code == 0 else []
        head = query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(addresses), 0, 0)
        records = (struct.pack("!HHHIH", 0xC00C, 1, 1, TTL, 4) + socket.inet_aton(address) for address in addresses)
        return head + question + b"".join(records)
