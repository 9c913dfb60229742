"""``printfarm-agent``: enroll, run, doctor."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from printfarm_rpc import logs
from printfarm_rpc.errors import FarmError

from .bootstrap import open_agent
from .doctor import examine
from .enroll import enroll
from .settings import AgentSettings, WrongSettings, load

DEFAULT_CONFIG = Path("/etc/printfarm/agent.toml")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="printfarm-agent", description="Drives a group of printers for PrintFarm.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("enroll", "get the first certificate, with a one-time token"),
        ("run", "drive the printers until told to stop"),
        ("doctor", "look at everything the agent needs, and say what is wrong"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="the host's TOML file")
        if name == "enroll":
            command.add_argument(
                "--enrollment", required=True, help="host:port of the coordinator's enrolment listener"
            )
            command.add_argument("--token", required=True, help="from `printfarm-coordinator ca token`; works once")
            command.add_argument("--ca-sha256", required=True, help="SHA-256 of the farm's CA, from the same line")
    return parser.parse_args()


async def _run(settings: AgentSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_agent(settings):
        await stop.wait()


async def _doctor(settings: AgentSettings) -> int:
    good = await examine(settings, lambda what, fine, words: print(f"{'ok  ' if fine else 'FAIL'} {what}: {words}"))
    return 0 if good else 1


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    arguments = _arguments()
    try:
        settings = load(arguments.config)
        if arguments.command == "enroll":
            agent_id = enroll(
                arguments.enrollment, arguments.token, arguments.ca_sha256, settings.state_dir, settings.server_name
            )
            print(f"enrolled as {agent_id}; certificate in {settings.credentials}")
        elif arguments.command == "doctor":
            sys.exit(asyncio.run(_doctor(settings)))
        else:
            logs.configure("agent", level=settings.log_level)
            asyncio.run(_run(settings))
    except WrongSettings as error:
        print(f"printfarm-agent: {error}", file=sys.stderr)
        sys.exit(2)
    except FarmError as error:
        print(f"printfarm-agent: {error.detail}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
