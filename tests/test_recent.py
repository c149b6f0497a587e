"""Results that were asked for last are remembered, up to a number of bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from dupnet.find.recent import Kept, Recent


def test_the_last_results_are_remembered_and_the_oldest_forgotten() -> None:
    asked: list[int] = []

    def doubled(number: int) -> bytes:
        asked.append(number)
        return bytes(10)

    recent = Recent(doubled, len, 30)
    for number in (1, 2, 3, 1, 2, 3):
        recent(number)
    assert asked == [1, 2, 3]
    recent(1)  # so that 2 is the one asked for longest ago
    recent(4)
    assert [recent(number) for number in (1, 3, 4)] == [bytes(10)] * 3
    assert asked == [1, 2, 3, 4]
    recent(2)
    assert asked == [1, 2, 3, 4, 2]


def test_a_result_larger_than_all_room_is_remembered_alone() -> None:
    asked: list[int] = []

    def large(number: int) -> bytes:
        asked.append(number)
        return bytes(100)

    recent = Recent(large, len, 30)
    assert len(recent(1)) == len(recent(1)) == 100
    recent(2)
    recent(1)
    assert asked == [1, 2, 1]


def test_threads_get_the_result_of_what_they_asked_for() -> None:
    recent = Recent(lambda number: bytes([number]), len, 8)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(recent, [number % 32 for number in range(2000)]))
    assert found == [bytes([number % 32]) for number in range(2000)]


def test_kept_is_what_came_first_as_far_as_there_is_room():
    kept = Kept(10)
    for name, size in (("a", 6), ("b", 6), ("c", 4), ("a", 0)):
        kept.offer(name, name.upper() + str(size), size)
    assert [kept.get(name) for name in "abc"] == ["A6", None, "C4"]
