"""``python -m tests.fuzz [--minutes 10] [--examples 20] [--target csv] [--seed 1]``; exit code 1: found one."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.workshop import Workshop, workshop

ROUND = 15


def main() -> int:
    """Play all targets in turn."""
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz")
    asked.add_argument("--minutes", type=float, default=0.0)
    asked.add_argument("--examples", type=int, default=0)
    asked.add_argument("--target", choices=sorted(TARGETS), action="append")
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given_words = asked.parse_args()
    print(f"seed {given_words.seed}", flush=True)  # known also of a search that is broken off
    chosen = {name: TARGETS[name] for name in given_words.target or TARGETS}
    tried: Counter[str] = Counter()
    found: set[str] = set()
    end = time.monotonic() + 60 * given_words.minutes
    with tempfile.TemporaryDirectory() as folder, workshop(Path(folder)) as shop:
        for turn, (number, name) in enumerate((number, name) for number in count(given_words.seed) for name in chosen):
            if turn >= len(chosen) and (time.monotonic() >= end or found == set(chosen)):
                break
            if name not in found:
                text = _round(shop, chosen[name], number, given_words.examples or ROUND, name, tried)
                if text:
                    found.add(name)
                    print(f"--- {name}\n{text}", flush=True)
    memory = f"{shop.most:.0f} MB at most in a run, {shop.between:.0f} between runs"
    print(f"seed {given_words.seed}: {dict(tried)}, {memory}, found in: {sorted(found) or 'none'}")
    return int(bool(found))


def _round(shop: Workshop, target: Target, number: int, examples: int, name: str, tried: Counter[str]) -> str:
    """Some examples; returns what was found, with the input that made it."""

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink], print_blob=False,
    )  # fmt: skip
    @given(target.inputs)
    def play(value: object) -> None:
        tried[name] += 1
        shop.empty()
        target.play(shop, value)

    try:
        play()
    except Exception:
        return traceback.format_exc(limit=-4)[-6_000:]
    return ""


if __name__ == "__main__":
    sys.exit(main())
