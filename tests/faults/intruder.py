"""Another user of the machine who tries to run code through every port of a Dask cluster; prints the user it runs as.

python intruder.py PORT...    one line for each port that obeyed
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys

from distributed import Security
from distributed.core import connect

SECONDS = 30
RUN = ("run", "run_function")
"""The operations by which a worker or nanny, and a scheduler, call a function that they are sent."""


async def order(address: str, operation: str, own: dict[str, object]) -> str:
    """What a process at this address answers to the order, with keys of one's `own`, to say whose it is."""
    comm = await connect(address, timeout=SECONDS, **own)
    await comm.write({"op": operation, "function": pickle.dumps(os.getuid), "args": (), "kwargs": {}, "reply": True})
    answer = await comm.read()
    return f"{address} {operation} obeyed as {answer['result']}" if answer.get("status") == "OK" else ""


async def attack(ports: list[str]) -> None:
    """Try every port in every way, all at once."""
    keys: dict[str, dict[str, object]] = {"tcp": {}, "tls": Security.temporary().get_connection_args("client")}
    ways = [(f"{name}://127.0.0.1:{port}", each, own) for port in ports for name, own in keys.items() for each in RUN]
    found = await asyncio.gather(*(asyncio.wait_for(order(*way), SECONDS) for way in ways), return_exceptions=True)
    print("\n".join(sorted({each for each in found if isinstance(each, str) and each})))


if __name__ == "__main__":
    asyncio.run(attack(sys.argv[1:]))
