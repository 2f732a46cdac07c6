import threading
import time

import pytest

from wsol.parallel import map_beside, map_chunks


def doubled(items):
    return [2 * item for item in items]


def fails_at_70(items):
    if 70 in items:
        raise ValueError("70")
    return list(items)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 200])
def test_chunks_come_back_in_order(workers, count):
    assert list(map_chunks(doubled, list(range(count)), workers)) == [2 * i for i in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_worker_reaches_the_caller(workers):
    with pytest.raises(ValueError, match="70"):
        list(map_chunks(fails_at_70, list(range(200)), workers))


def test_threads_keep_the_order_and_work_beside_the_iterator():
    names = set()

    def slow_when_even(item):
        names.add(threading.current_thread().name)
        time.sleep(0.002 * (item % 2 == 0))
        return -item

    assert list(map_beside(slow_when_even, iter(range(50)))) == [(i, -i) for i in range(50)]
    assert threading.main_thread().name not in names


def test_an_error_in_a_thread_ends_the_iteration():
    def refuse(item):
        if item == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        list(map_beside(refuse, range(1000)))
