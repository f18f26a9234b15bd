"""No proxy: a member itself, for what load and members take of a latency."""

from .peer import Peer


class Nobody(Peer):
    name = "nobody"
    title = "no proxy: a member itself"

    def start(self):
        self.folder = self.lab.new_folder(self.name)
        self.port = self.pools["blue"][1]

    def questions(self):
        return [("/", None, "blue")]

    def pids(self):
        return []

    def stop(self):
        pass
