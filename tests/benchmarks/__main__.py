"""Run every benchmark and print one table: ``python -m tests.benchmarks [name ...]``."""

import importlib
import pkgutil
import sys
from pathlib import Path

from tests.benchmarks.harness import table

NOT_BENCHMARKS = {"__main__", "harness"}


def main() -> int:
    there = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])} - NOT_BENCHMARKS
    wanted = sys.argv[1:] or sorted(there)
    if unknown := set(wanted) - there:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(sorted(there))}")
        return 2
    figures = []
    for name in wanted:
        print(f"measuring: {name} ...", flush=True)
        figures += importlib.import_module(f"tests.benchmarks.{name}").main()
    print(table(figures))
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
