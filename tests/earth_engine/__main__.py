"""`python -m …earth_engine [catalogue]`: serve until standard input closes.

The first line printed is the port. Standard input is the parent's hand: when the parent ends,
however it ends, the pipe closes and the server goes with it.
"""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path

from .collection_functions import CATALOGUE
from .functions import load_all
from .launch import build_catalogue
from .server import EarthEngineServer, State


def main(arguments: list[str]) -> None:
    """Publish the catalogue, print the port, serve."""
    sys.setrecursionlimit(60000)
    threading.stack_size(64 * 1024 * 1024)
    load_all()
    for argument in arguments or ["standard"]:
        if argument.endswith(".pickle"):
            CATALOGUE.publish(pickle.loads(Path(argument).read_bytes()))
        else:
            CATALOGUE.publish(build_catalogue(argument))
    server = EarthEngineServer(State())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    print(server.server_address[1], flush=True)
    try:
        while sys.stdin.readline():
            pass
    except KeyboardInterrupt:
        pass
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main(sys.argv[1:])
