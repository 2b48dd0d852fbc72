"""`python -m bench.floor ROLE`: one of the two processes of the floor probe. Prints a line each time its watch stands."""

from __future__ import annotations

import asyncio
import time

import click
import uvloop

from bench.floor.answers import ROLES, Answer
from bench.floor.wire import added_name, connected
from k8s.client import load_credentials


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
@click.option("--kubeconfig", required=True)
@click.option("--namespace", required=True)
def main(role: str, kubeconfig: str, namespace: str) -> None:
    """Answer every Run of the floor's kind with one status write."""
    uvloop.run(answer_all(ROLES[role], kubeconfig=kubeconfig, namespace=namespace))


async def answer_all(answer: Answer, *, kubeconfig: str, namespace: str) -> None:
    """Until killed. The first error of any answer ends it."""
    credentials = await load_credentials(kubeconfig=kubeconfig)
    answered: set[str] = set()
    async with connected(credentials, namespace=namespace) as wire, asyncio.TaskGroup() as answers:
        # An API server may end a watch at any time, as one did in a burst of 300; the next begins with what is there.
        while True:
            async with wire.watch(answer.field_selector) as lines:
                print("ready", flush=True)
                async for line in lines:
                    seen = time.time()
                    name = added_name(line)
                    if name is not None and name not in answered:
                        answered.add(name)
                        answers.create_task(wire.patch_status(name, answer.status(seen)))


if __name__ == "__main__":
    main()
