"""``printfarm``: the whole farm, until Ctrl-C."""

import asyncio
import signal
import sys

import grpc
import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from printfarm_agent.journal import JournalUnavailable
from printfarm_agent.settings import WrongSettings
from printfarm_coordinator.app.ports import DatabaseUnavailable
from printfarm_coordinator.bootstrap import AddressTaken as CoordinatorAddressTaken
from printfarm_gateway.bootstrap import AddressTaken
from printfarm_rpc import logs
from printfarm_rpc.errors import FarmError
from printfarm_rpc.tls import CredentialsError

from .farm import RunningFarm, open_farm
from .lock import InUse, only_one
from .sample import run_sample
from .settings import StandaloneSettings

_CONSOLE = Console()


async def _run(settings: StandaloneSettings) -> int:
    """1 if its agent broke: whoever keeps it running starts it again."""
    grpc.aio.init_grpc_aio()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _CONSOLE.print("PrintFarm is starting ...")
    async with open_farm(settings) as farm:
        _tell(farm, settings)
        sample = asyncio.create_task(_sample(farm, settings))
        ends = {asyncio.create_task(stop.wait()), asyncio.create_task(farm.agent.broken())}
        await asyncio.wait({*ends, sample}, return_when=asyncio.FIRST_COMPLETED)
        if not any(end.done() for end in ends):
            sample.result()
            _CONSOLE.print("Serving. Press Ctrl-C to stop.")
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (sample, *ends):
            task.cancel()
        await asyncio.gather(sample, *ends, return_exceptions=True)
        _CONSOLE.print("Stopping ...")
    return 0 if stop.is_set() else 1


def _tell(farm: RunningFarm, settings: StandaloneSettings) -> None:
    _CONSOLE.print(f"PrintFarm is ready: {farm.url}  (API: {farm.url}/docs)", soft_wrap=True)
    where = "is in" if farm.key_path.exists() else "was written to, and is no more in,"
    _CONSOLE.print(f"The administrator's API key {where} {farm.key_path}", soft_wrap=True)
    _CONSOLE.print(f"{settings.virtual_printers} virtual printers, {settings.time_scale:g} times faster than machines")
    if farm.real_printers:
        _CONSOLE.print(f"Real printers: {', '.join(farm.real_printers)}", soft_wrap=True)
    else:
        _CONSOLE.print(f"Real printers: none; add them in {settings.printers_file} (docs/drivers.md)", soft_wrap=True)
    _CONSOLE.print(farm.slicing, soft_wrap=True, markup=False, highlight=False)


async def _sample(farm: RunningFarm, settings: StandaloneSettings) -> None:
    if not (settings.sample and farm.is_first_start and settings.virtual_printers):
        return
    _CONSOLE.print("First start: printing a sample cube (PRINTFARM_SAMPLE=0 leaves it out).")
    if not _CONSOLE.is_terminal:
        state = await run_sample(farm.url, farm.key_path, farm.virtual_printers, _Lines().show)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=_CONSOLE) as bar:
            task = bar.add_task("sample", total=1.0)
            state = await run_sample(
                farm.url,
                farm.key_path,
                farm.virtual_printers,
                lambda words, part: bar.update(task, description=words, completed=part),
            )
    _CONSOLE.print(f"Sample job: {state}")


class _Lines:
    """Without a terminal: one line per change, and per tenth of progress."""

    def __init__(self) -> None:
        self._last = ("", -1)

    def show(self, words: str, progress: float) -> None:
        now = (words, int(progress * 10))
        if now != self._last:
            self._last = now
            _CONSOLE.print(f"  {progress * 100:3.0f} %  {words}", soft_wrap=True)


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    try:
        settings = StandaloneSettings()
        logs.configure("printfarm", level=settings.log_level)
        with only_one(settings.data_dir):
            code = uvloop.run(_run(settings))
        sys.exit(code)
    except ValidationError as error:
        for wrong in error.errors():
            print(f"printfarm: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    except (
        InUse,
        AddressTaken,
        CoordinatorAddressTaken,
        CredentialsError,
        DatabaseUnavailable,
        JournalUnavailable,
        WrongSettings,
    ) as error:
        print(f"printfarm: {error}", file=sys.stderr)
        sys.exit(2)
    except FarmError as error:
        print(f"printfarm: {error.detail}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
