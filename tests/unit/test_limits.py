"""When the next request may go. The clock is the test's own."""

import asyncio
import math
import random
from collections import Counter

import pytest

from spacy_distill.teacher import limits
from spacy_distill.teacher.limits import Gate, Limits, Permit, Quota, backoff_s


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def send(limited: Limits, count: int, chars: int = 40) -> list[Permit]:
    permits = []
    for _ in range(count):
        assert limited.wait_s(chars) == 0.0
        permits.append(limited.start(chars))
    return permits


def succeed(limited: Limits, permits: list[Permit], tokens: int | None = None) -> None:
    for permit in permits:
        limited.succeeded(permit, tokens)
        limited.end(permit)


def refuse(limited: Limits, wait_s: float | None = None) -> None:
    (permit,) = send(limited, 1)
    limited.overloaded(permit, wait_s)
    limited.end(permit)


def sent_in(limited: Limits, clock: Clock, seconds_s: float, chars: int = 40, tokens: int | None = None) -> int:
    """Sends whenever it may, with instant replies. RETURNS (int): How many there were."""
    ends_s, count = clock.now_s + seconds_s, 0
    while True:
        wait_s = limited.wait_s(chars)
        if clock.now_s + wait_s >= ends_s:
            clock.now_s = ends_s
            return count
        clock.now_s += wait_s
        succeed(limited, [limited.start(chars)], tokens)
        count += 1


def test_as_many_as_allowed_and_no_more(clock: Clock) -> None:
    limited = Limits(3, clock=clock)
    permits = send(limited, 3)
    assert limited.wait_s(1) == math.inf
    succeed(limited, permits[:1])
    assert limited.wait_s(1) == 0.0


def test_an_overload_is_a_pause_for_all_and_then_one_goes_to_see(clock: Clock) -> None:
    limited = Limits(10, clock=clock)
    permits = send(limited, 10)
    limited.overloaded(permits[0], 7.0)
    for permit in permits:
        limited.end(permit)
    assert limited.wait_s(1) == 7.5  # What was asked for, and jitter.
    clock.now_s += 7.5
    assert limited.window == 1
    send(limited, 1)
    assert limited.wait_s(1) == math.inf


def test_those_already_on_their_way_say_nothing_new(clock: Clock) -> None:
    limited = Limits(10, clock=clock)
    permits = send(limited, 10)
    for permit in permits:
        limited.overloaded(permit, None)
        limited.end(permit)
    assert limited.wait_s(1) == 0.5  # The first pause, not the tenth.
    clock.now_s += 0.5
    for number in range(1, 4):
        refuse(limited)
        assert limited.wait_s(1) == 0.5 * 2**number
        clock.now_s += limited.wait_s(1)
    succeed(limited, send(limited, 1))
    refuse(limited)
    assert limited.wait_s(1) == 0.5  # It has answered in between.


def test_success_of_what_was_on_its_way_does_not_shorten_the_next_pause(clock: Clock) -> None:
    limited = Limits(10, clock=clock)
    early = send(limited, 5)
    assert limited.overloaded(early[0], None) == 0.5
    assert limited.overloaded(early[1], None) == 0.0  # The same pause.
    succeed(limited, early[2:])
    clock.now_s += 0.5
    assert limited.overloaded(send(limited, 1)[0], None) == 1.0


def test_success_raises_fast_up_to_what_an_overload_left_and_slowly_from_there(clock: Clock) -> None:
    limited = Limits(20, clock=clock)
    refuse(limited, 0.0)
    windows = []
    for _ in range(60):
        succeed(limited, send(limited, 1))
        windows.append(limited.window)
    assert windows[:13] == list(range(2, 15))  # 0.7 * 20 = 14
    assert windows[13:25] == [14] * 12
    assert windows[-1] < 18
    for _ in range(60):
        succeed(limited, send(limited, 1))
    assert limited.window == 20  # And never above.


def test_a_server_that_is_too_slow_gets_fewer_at_a_time_and_no_pause(clock: Clock) -> None:
    limited = Limits(10, clock=clock)
    for permit in send(limited, 10):
        limited.too_slow(permit)
        limited.end(permit)
    assert limited.window == 7  # Once for all that were on their way.
    (permit,) = send(limited, 1)
    limited.too_slow(permit)
    limited.end(permit)
    assert limited.window == 4
    send(limited, 4)


def test_a_server_that_takes_eight_at_a_time_is_asked_about_eight_at_a_time(clock: Clock) -> None:
    limited = Limits(64, clock=clock)
    taken = refused = 0
    for _ in range(300):
        permits = []
        while limited.wait_s(40) == 0.0:
            permits.append(limited.start(40))
        for number, permit in enumerate(permits):
            if number < 8:
                limited.succeeded(permit, None)
                taken += 1
            else:
                limited.overloaded(permit, 0.0)
                refused += 1
        for permit in permits:
            limited.end(permit)
        clock.now_s += 1.0
    assert taken / 300 > 0.6 * 8
    assert refused < 0.1 * taken


def test_requests_a_minute_go_at_an_even_pace(clock: Clock) -> None:
    limited = Limits(100, requests_per_minute=120, clock=clock)
    assert sent_in(limited, clock, 0.4) == 1
    assert sent_in(limited, clock, 60.0) == 120
    clock.now_s += 600.0
    assert sent_in(limited, clock, 60.0) <= 121  # A long pause is no credit.


def test_tokens_a_minute_are_estimated_and_then_learnt(clock: Clock) -> None:
    limited = Limits(100, tokens_per_minute=6000, clock=clock)
    first = sent_in(limited, clock, 60.0, chars=400, tokens=200)
    assert 28 <= first <= 31
    assert sent_in(limited, clock, 60.0, chars=800, tokens=400) == pytest.approx(15, abs=1)


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_when_the_server_says_that_nothing_is_left_nobody_goes(clock: Clock, what: str) -> None:
    limited = Limits(10, clock=clock)
    permits = send(limited, 4, chars=100)
    quota = Quota(2 if what == "requests" else 2 * permits[0].tokens, 30.0)
    heard = (quota, None) if what == "requests" else (None, quota)
    succeed(limited, permits[:1])
    limited.heard(permits[1], *heard)  # Two of what is left were on their way.
    succeed(limited, permits[1:])
    assert limited.wait_s(100) == 30.0
    stale = Quota(1000, 1.0)
    limited.heard(permits[0], stale, stale)  # An older request's reply that came late.
    clock.now_s += 29.0
    assert limited.wait_s(100) == 1.0
    clock.now_s += 1.0
    send(limited, 10)


def test_a_reply_that_overtook_others_does_not_count_them_as_left(clock: Clock) -> None:
    limited = Limits(4, clock=clock)
    permits = send(limited, 4)
    limited.heard(permits[3], Quota(4, 30.0), Quota(4 * permits[0].tokens, 30.0))  # It was the first of the four there.
    succeed(limited, permits)
    limited_to = send(limited, 1)
    assert limited.wait_s(40) == 30.0
    succeed(limited, limited_to)


def test_replies_that_are_not_safe_yet_are_in_the_servers_count(clock: Clock) -> None:
    limited = Limits(8, clock=clock)
    permits = send(limited, 8)
    for left, permit in zip(range(14, 6, -1), permits, strict=True):
        limited.heard(permit, Quota(left, 60.0), None)
    succeed(limited, permits)
    send(limited, 7)
    assert limited.wait_s(40) == 60.0


@pytest.mark.parametrize("seed", range(20))
def test_requests_and_replies_that_overtake_each_other_do_not_exceed_what_is_left(clock: Clock, seed: int) -> None:
    """A server that takes 10 requests in each second of its own clock, four at a time, in any order, both ways."""
    draw, limited = random.Random(seed), Limits(4, clock=clock)
    on_the_way: list[Permit] = []
    on_the_way_back: list[tuple[Permit, Quota]] = []
    taken: Counter[int] = Counter()
    while clock.now_s < 1020.0:
        while limited.wait_s(40) <= 0.0:
            on_the_way.append(limited.start(40))
        clock.now_s += draw.choice((0.0, 0.001, 0.02))
        if on_the_way and draw.random() < 0.5:
            second = int(clock.now_s)
            taken[second] += 1
            permit = on_the_way.pop(draw.randrange(len(on_the_way)))
            on_the_way_back.append((permit, Quota(10 - taken[second], second + 1.0 - clock.now_s)))
        elif on_the_way_back:
            permit, left = on_the_way_back.pop(draw.randrange(len(on_the_way_back)))
            limited.heard(permit, left, None)
            succeed(limited, [permit])
    assert max(taken.values()) <= 10
    assert sum(taken.values()) > 0.8 * 200


def test_a_quota_of_a_day_is_not_waited_for(clock: Clock) -> None:
    limited = Limits(10, clock=clock)
    (first,) = send(limited, 1)
    limited.heard(first, Quota(0, 7200.0), None)
    (second,) = send(limited, 1)
    limited.overloaded(second, 86400.0)
    assert limited.wait_s(40) == math.inf  # One is still in flight, and one may be.
    limited.end(first)
    limited.end(second)
    assert limited.wait_s(40) == 0.5


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for failures, low, high in ((1, 0.25, 0.5), (2, 0.5, 1.0), (4, 2.0, 4.0), (5000, 15.0, 30.0)):
        pauses = {backoff_s(failures) for _ in range(50)}
        assert len(pauses) > 40
        assert low <= min(pauses) <= max(pauses) <= high


def test_the_gate_lets_through_in_order_and_forgets_the_cancelled() -> None:
    async def run() -> None:
        gate = Gate(Limits(2))
        entered: list[int] = []
        permits: list[Permit] = []

        async def visit(number: int) -> None:
            permits.append(await gate.enter(1))
            entered.append(number)

        visits = [asyncio.create_task(visit(number)) for number in range(6)]
        await asyncio.sleep(0)
        assert entered == [0, 1]
        visits[2].cancel()
        visits[4].cancel()
        gate.leave(permits[0])
        gate.leave(permits[1])
        await asyncio.sleep(0.01)
        assert entered == [0, 1, 3, 5]
        assert gate.limits.in_flight == 2
        # A turn that came at the same moment as its cancellation is given back.
        late = asyncio.create_task(visit(6))
        await asyncio.sleep(0)
        gate.leave(permits[2])
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        assert gate.limits.in_flight == 1

    asyncio.run(run())


def test_the_gate_opens_by_itself_when_a_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_FIRST_PAUSE_S", 0.05)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        gate = Gate(Limits(2))
        permit = await gate.enter(1)
        gate.limits.overloaded(permit, None)
        gate.leave(permit)
        start_s = loop.time()
        await gate.enter(1)
        return loop.time() - start_s

    assert 0.04 <= asyncio.run(run()) < 5.0
