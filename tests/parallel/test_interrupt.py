import os
import signal
import threading
import time
import warnings

import pytest

from vje_ppl.parallel.interrupt import Interrupt


@pytest.fixture(autouse=True)
def handlers():
    """Handlers of our own, so that a signal which escapes fails a test and does not end the test run."""

    def escaped(number, frame):
        raise RuntimeError(f"signal {number} escaped")

    before = {number: signal.signal(number, escaped) for number in (signal.SIGINT, signal.SIGTERM)}
    yield escaped
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number, process=None):
    os.kill(os.getpid() if process is None else process, number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_is_noted_and_work_goes_on(number, code, handlers):
    with Interrupt() as interrupt:
        assert (interrupt.signal, interrupt.exit_code) == (None, 0)
        send(number)
        assert (interrupt.signal, interrupt.exit_code) == (number, code)

    assert (interrupt.signal, interrupt.exit_code) == (number, code)
    assert signal.getsignal(signal.SIGINT) is handlers
    assert signal.getsignal(signal.SIGTERM) is handlers


def interrupted_twice(interrupt):
    with interrupt:
        send(signal.SIGINT)
        send(signal.SIGINT)


def test_a_second_sigint_stops_at_once_and_handlers_are_restored(handlers):
    with pytest.raises(KeyboardInterrupt):
        interrupted_twice(interrupt := Interrupt())

    assert interrupt.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is handlers


def test_only_a_second_sigint_is_impatience():
    with Interrupt() as interrupt:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        send(signal.SIGINT)

    assert interrupt.signal == signal.SIGTERM


def test_it_can_be_entered_again_and_nested():
    outer = Interrupt()
    with outer:
        with Interrupt() as inner:
            send(signal.SIGTERM)
        assert (outer.signal, inner.signal) == (None, signal.SIGTERM)
        send(signal.SIGINT)
    assert outer.signal == signal.SIGINT

    with outer:
        assert outer.signal is None
        send(signal.SIGINT)
    assert outer.signal == signal.SIGINT


def test_signals_that_were_ignored_are_noted_and_then_ignored_again():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with Interrupt() as interrupt:
        send(signal.SIGINT)

    assert interrupt.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_outside_the_main_thread_it_does_nothing(handlers):
    seen = []

    def work():
        with Interrupt() as interrupt:
            seen.append((signal.getsignal(signal.SIGTERM), interrupt.signal, interrupt.exit_code))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [(handlers, None, 0)]


def test_a_forked_process_ignores_sigint_and_ends_on_sigterm():
    with Interrupt() as interrupt:
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside torch's threads: it does no work
            child = os.fork()
        if child == 0:
            try:
                os.write(writer, b"r")
                time.sleep(10)
            finally:
                os._exit(0)
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        for _ in range(2):
            send(signal.SIGINT, child)
            time.sleep(0.05)
        alive = os.waitpid(child, os.WNOHANG) == (0, 0)
        send(signal.SIGTERM, child)
        _, status = os.waitpid(child, 0)

    assert alive
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert interrupt.signal is None


def failing_work(number):
    with Interrupt():
        send(number)
        raise ValueError("work that failed")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2], ids=["SIGUSR1", "SIGUSR2"])
def test_a_clusters_warning_is_noted_and_then_handed_on(number):
    """Its handler may end the process, as submitit's does, and so gets it after the work."""
    heard = []
    before = signal.signal(number, lambda *_: heard.append("handler"))
    try:
        with Interrupt() as interrupt:
            send(number)
            heard.append("work")
        assert heard == ["work", "handler"]
        assert interrupt.exit_code == 128 + number
        with pytest.raises(ValueError, match="work"):
            failing_work(number)
        assert heard == ["work", "handler"]
        with Interrupt():
            send(signal.SIGTERM)
        assert heard == ["work", "handler"]
    finally:
        signal.signal(number, before)


def test_a_clusters_warning_without_a_handler_ends_there():
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        with Interrupt() as interrupt:
            send(signal.SIGUSR1)
        assert interrupt.exit_code == 138
    finally:
        signal.signal(signal.SIGUSR1, before)
