"""Two workers against one: what a request costs, and how many there are."""

import lab
import rows
from growth import asked, request_figures

PORT = 18850


def measure(arguments, folder, nginx):
    """One worker with a core of its own; then one, two and four that share both with members and load."""
    row = rows.Row("workers", "workers", rows.releases)
    cases = [("1, on a core of its own", 1, lab.PROXY_CORES, lab.LOAD_CORES), ("1", 1, lab.ALL_CORES, lab.ALL_CORES),
             ("2", 2, lab.ALL_CORES, lab.ALL_CORES), ("4", 4, lab.ALL_CORES, lab.ALL_CORES)]
    hosts, rounds = [], [[] for _ in cases]
    try:
        for number, (_, workers, cores, _) in enumerate(cases):
            port = PORT + 2 * number
            hosts.append(lab.Host(arguments.binary, folder, f"workers-{number}", port, row.config(1, port), workers=workers, cores=cores))
            hosts[-1].stop()
        wrk = lab.Wrk(folder)
        for _ in range(arguments.rounds):
            for host, (_, _, _, cores), done in zip(hosts, cases, rounds):
                nginx.pin(cores)
                done.append(asked(row, host, wrk, arguments.seconds, 1, cores=cores))
        return [{"workers": name} | request_figures(done) for (name, *_), done in zip(cases, rounds)]
    finally:
        nginx.pin(lab.LOAD_CORES)
        for host in hosts:
            host.go_on()
            host.end()
