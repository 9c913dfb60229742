"""Commands that wait in the printer's queue: sent once, whoever asks again, and late failures hurt nobody."""

import asyncio

import pytest

from printfarm_agent.driver import Refused
from printfarm_agent.drivers.moonraker.queued import Queued


class Printer:
    """Carries a command out when ``come_to_it`` is set."""

    def __init__(self) -> None:
        self.sent = 0
        self.come_to_it = asyncio.Event()
        self.says_no = False

    async def command(self) -> None:
        self.sent += 1
        await self.come_to_it.wait()
        if self.says_no:
            raise Refused("no")


async def test_an_answer_that_comes_at_once_is_waited_for() -> None:
    printer, queued = Printer(), Queued()
    printer.come_to_it.set()
    await queued.put("cancel", printer.command)
    printer.says_no = True
    with pytest.raises(Refused):
        await queued.put("cancel", printer.command)
    assert printer.sent == 2


async def test_the_same_wish_is_sent_once_while_it_waits() -> None:
    printer, queued = Printer(), Queued(patience_seconds=0.0)
    await queued.put("cancel", printer.command)
    await queued.put("cancel", printer.command)
    await queued.put("pause", printer.command)
    await asyncio.sleep(0)
    assert printer.sent == 2, "one of each kind"
    await queued.close()


async def test_what_came_of_an_old_wish_is_not_the_answer_to_a_new_one() -> None:
    printer, queued = Printer(), Queued(patience_seconds=0.0)
    printer.says_no = True
    await queued.put("cancel", printer.command)
    printer.come_to_it.set()
    for _ in range(5):
        await asyncio.sleep(0)
    again = Printer()
    await queued.put("cancel", again.command)
    await asyncio.sleep(0)
    assert again.sent == 1, "a new print's cancel goes out"
    await queued.close()
