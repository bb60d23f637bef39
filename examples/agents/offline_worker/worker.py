"""The agent `factors`: factors numbers, one after the other, and remembers on the broker how far it is."""

import sys

from mq9_mcp.client import Mq9Error, SyncJob, SyncMq9Client


def factors_of(number: int) -> list[int]:
    """Trial division: slow for large primes, which is what this example needs."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor:
            divisor += 1 if divisor == 2 else 2
        else:
            found.append(divisor)
            number //= divisor
    return [*found, number] if number > 1 else found


def work(job: SyncJob) -> dict[str, list[int]]:
    """One task. The checkpoint is what the next attempt begins with, should this one die."""
    numbers = job.data["numbers"]
    known: dict[str, list[int]] = job.checkpoint_value or {}
    print(f"attempt {job.attempt}: {len(numbers)} numbers, {len(known)} of them known already")
    for number in numbers:
        if str(number) not in known:
            known[str(number)] = factors_of(number)
            job.checkpoint(known)
            print(f"  {number} is done")
    return known  # completes the task, and is the message that the asker gets


def main() -> None:
    """Work until Ctrl-C, which lets the task in hand come to its end."""
    with SyncMq9Client(agent="factors") as client:
        client.mailbox_create(address="factors")
        # The lease is renewed while `work` runs. If this process dies, the task is free after 5 seconds.
        with client.work("factors", work, lease_s=5) as worker:
            print("factors is at work, Ctrl-C ends it")
            worker.wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("factors is away")
    except Mq9Error as error:
        sys.exit(str(error))
