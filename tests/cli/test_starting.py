"""What can happen while the program starts, before the command line is imported."""

from __future__ import annotations

import builtins

import pytest

from subspace_bench import __main__ as program


@pytest.mark.parametrize(("failure", "code"), [(KeyboardInterrupt, 130), (ImportError, 3)])
def test_a_start_that_fails_has_its_exit_code_and_no_traceback(
    failure: type[BaseException], code: int, monkeypatch, capsys
) -> None:
    def refuse(name: str, *rest: object) -> object:
        if name == "subspace_bench" and rest[2] == ("cli",):
            raise failure
        return original(name, *rest)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == code
    assert "Traceback" not in capsys.readouterr().err
