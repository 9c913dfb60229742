"""The figures as the table of docs/benchmarks.md: ``python -m tests.bench | python -m tests.bench.table``."""

import json
import sys

_HEAD = "| operation | figure | yardstick | ratio (of rounds) | target | met | load |\n|---|---|---|---|---|---|---|"


def main() -> None:
    """One row a line."""
    print(_HEAD)
    for line in sys.stdin:
        found = json.loads(line)
        if "figure" not in found:
            continue
        least, greatest = found["ratios"]
        spread = "" if least == greatest else f" ({least:g} to {greatest:g})"
        cpu = f"; by CPU time {found['cpu_ratio']:g}" if "cpu_ratio" in found else ""
        met = "-" if found["target"] == "none" else "yes" if found["met"] else "**no**"
        yardstick = f"{found['yardstick']:g}" if found["yardstick"] else "-"
        ratio = f"{found['ratio']:g}{spread}{cpu}" if found["yardstick"] else "-"
        print(
            f"| {found['benchmark']} | {found['figure']:g} {found['unit']} | {yardstick} | {ratio} "
            f"| {found['target']} | {met} | {found['load']:g} |"
        )


if __name__ == "__main__":
    main()
