"""Document classes are imported when they are first needed, by whichever thread that is."""

from __future__ import annotations

import sys
import textwrap
import threading
from pathlib import Path

import pytest

from orlop_hookspecs import documents
from orlop_hookspecs.documents.kinds import Ref

_MODULE = """
    from tests.unit.documents import test_threads
    test_threads.in_the_middle.set()
    assert test_threads.go_on.wait(10)
    class Late:
        pass
"""
in_the_middle = threading.Event()
go_on = threading.Event()


def test_a_class_whose_module_another_thread_is_importing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_for_a_test.py").write_text(textwrap.dedent(_MODULE))
    monkeypatch.setattr(documents, "__path__", [*documents.__path__, str(tmp_path)])
    found: list[object] = []

    def resolve() -> None:
        try:
            found.append(Ref("late_for_a_test", "Late").resolve())
        except AttributeError as error:
            found.append(error)

    threads = [threading.Thread(target=resolve), threading.Thread(target=resolve)]
    try:
        threads[0].start()
        assert in_the_middle.wait(60)
        threads[1].start()
        while threads[1].is_alive() and not _waits_for_an_import(threads[1]):
            pass
    finally:
        go_on.set()
        for thread in threads:
            thread.join()
        sys.modules.pop("orlop_hookspecs.documents.late_for_a_test", None)
    assert [getattr(one, "__name__", one) for one in found] == ["Late", "Late"]


def _waits_for_an_import(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_globals.get("__name__") == "importlib._bootstrap"
