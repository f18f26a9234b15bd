"""The least that can be done with what Switchback is built of: hyper, connections of one thread, a closure."""

from .peer import Peer


class Floor(Peer):
    name = "floor"
    title = "bare hyper"
    decides_by = "a closure in Rust"
    needs = ("floor",)
    speaks_not = "it speaks HTTP/1.1 only"

    def configure(self):
        return [self.lab.tools["floor"], f"127.0.0.1:{self.port}", self.member("blue"), self.member("green")]
