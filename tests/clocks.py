"""A clock that does not wait."""


class FakeClock:
    """Time passes only by sleeping; every sleep is written down."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.epoch = 1_790_000_000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.epoch + self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)
