"""``printfarm-agent``: enroll, run, doctor, discover, add."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from printfarm_rpc import logs
from printfarm_rpc.errors import FarmError

from .settings import AgentSettings, WrongSettings, load

# Each command imports what it needs: an agent that runs for years carries nothing of the others.
DEFAULT_CONFIG = Path("/etc/printfarm/agent.toml")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="printfarm-agent", description="Drives a group of printers for PrintFarm.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("enroll", "get the first certificate, with a one-time token"),
        ("run", "drive the printers until told to stop"),
        ("doctor", "look at everything the agent needs, and say what is wrong"),
        ("discover", "list the printers that announce themselves on the network, and the serial ports"),
        ("add", "ask for what a printer's driver needs, try it, and write it into the TOML"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="the host's TOML file")
        if name == "enroll":
            command.add_argument(
                "--enrollment", required=True, help="host:port of the coordinator's enrolment listener"
            )
            command.add_argument("--token", required=True, help="from `printfarm-coordinator ca token`; works once")
            command.add_argument("--ca-sha256", required=True, help="SHA-256 of the farm's CA, from the same line")
        if name == "discover":
            command.add_argument("--seconds", type=float, default=6.0, help="how long to listen (6)")
            command.add_argument(
                "--interface", default="", help="an address of this host to listen at; all, if it is left out"
            )
        if name == "add":
            command.add_argument("driver", help="such as prusalink; see `discover`")
            command.add_argument("id", help="the printer's id in the farm: lower case letters, digits and dashes")
            command.add_argument(
                "options", nargs="*", metavar="key=value", help="options; what is missing is asked for"
            )
    return parser.parse_args()


async def _run(settings: AgentSettings) -> int:
    """1 if it broke: whoever keeps it running starts it again, and it finds its printers' runs in the journal."""
    from .bootstrap import open_agent
    from .journal import JournalUnavailable

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with open_agent(settings) as agent:
            told, broken = asyncio.create_task(stop.wait()), asyncio.create_task(agent.broken())
            await asyncio.wait((told, broken), return_when=asyncio.FIRST_COMPLETED)
            for task in (told, broken):
                task.cancel()
    except JournalUnavailable as error:
        # Whoever keeps the agent running starts it again: the disk may have room then.
        sys.exit(f"printfarm-agent: the journal in agent.state_dir cannot be opened now: {error}")
    return 0 if stop.is_set() else 1


async def _doctor(settings: AgentSettings) -> int:
    from .doctor import examine

    good = await examine(settings, lambda what, fine, words: print(f"{'ok  ' if fine else 'FAIL'} {what}: {words}"))
    return 0 if good else 1


def _discover(seconds: float, interface: str) -> None:
    from .discover import Ears, discover

    for finding in asyncio.run(discover(Ears(seconds=seconds, interface=interface))):
        options = " ".join(f"{key}={value}" for key, value in finding.options)
        print(f"{finding.driver:<10} {finding.name}\n           printfarm-agent add {finding.driver} ID {options}")


def _add(arguments: argparse.Namespace) -> None:
    from .add import add, ask_at_terminal

    pairs = [pair.partition("=") for pair in arguments.options]
    if wrong := [key for key, equals, value in pairs if not (equals and value)]:
        raise WrongSettings(f"{wrong[0]}: options are given as key=value")
    given = {key: value for key, _, value in pairs}
    told = add(arguments.config, arguments.id, arguments.driver, given, ask_at_terminal)
    print(f"{arguments.id}: {told}. It is in {arguments.config}; restart the agent.")


def _enroll(arguments: argparse.Namespace, settings: AgentSettings) -> None:
    from .enroll import enroll

    agent_id = enroll(
        arguments.enrollment, arguments.token, arguments.ca_sha256, settings.state_dir, settings.server_name
    )
    print(f"enrolled as {agent_id}; certificate in {settings.credentials}")


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    arguments = _arguments()
    try:
        if arguments.command == "discover":
            return _discover(arguments.seconds, arguments.interface)
        if arguments.command == "add":
            return _add(arguments)
        settings = load(arguments.config)
        if arguments.command == "enroll":
            _enroll(arguments, settings)
        elif arguments.command == "doctor":
            sys.exit(asyncio.run(_doctor(settings)))
        else:
            logs.configure("agent", level=settings.log_level)
            sys.exit(asyncio.run(_run(settings)))
    except WrongSettings as error:
        print(f"printfarm-agent: {error}", file=sys.stderr)
        sys.exit(2)
    except FarmError as error:
        print(f"printfarm-agent: {error.detail}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
