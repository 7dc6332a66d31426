"""The registry of variables: types, order of sources, errors, doit's params."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from doit import doit_cmd
from doit.cmdparse import CmdOption, TaskParse

from aifo_tasks.errors import UsageError
from aifo_tasks.spec import Source
from aifo_tasks.tasks import variables
from aifo_tasks.tasks.variables import Resolved, Variable, resolve


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_CACHE", "PULL", "FILE", "WORDS_FOR_TEST"):
        monkeypatch.delenv(f"AIFO_{name}", raising=False)
    doit_cmd.reset_vars()
    yield
    doit_cmd.reset_vars()


@pytest.fixture
def words() -> Iterator[Variable]:
    variable = Variable(name="WORDS_FOR_TEST", kind="list", default=("a",), help="100 % words")
    variables.declare(variable)
    yield variable
    del variables._REGISTRY[variable.name]


def test_command_line_beats_environment_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("PULL") == Resolved(value="auto", source=Source.DEFAULT)
    monkeypatch.setenv("AIFO_PULL", "never")
    monkeypatch.setenv("PULL", "always")
    assert resolve("PULL") == Resolved(value="never", source=Source.ENVIRONMENT)
    doit_cmd.set_var("PULL", "always")
    assert resolve("PULL") == Resolved(value="always", source=Source.COMMAND_LINE)


def test_a_dry_run_may_be_asked_for_before_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIFO_DRY_RUN", raising=False)
    monkeypatch.setenv("DRY_RUN", "1")
    assert resolve("DRY_RUN") == Resolved(value=True, source=Source.ENVIRONMENT)
    monkeypatch.setenv("AIFO_DRY_RUN", "0")
    assert not variables.flag("DRY_RUN")


def test_an_empty_environment_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFO_PULL", "")
    assert resolve("PULL").source is Source.DEFAULT


@pytest.mark.parametrize("given", ["1", "true", "YES", "on"])
def test_true(given: str) -> None:
    doit_cmd.set_var("NO_CACHE", given)
    assert variables.flag("NO_CACHE") is True


@pytest.mark.parametrize("given", ["0", "False", "no", "off"])
def test_false(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFO_NO_CACHE", "1")
    doit_cmd.set_var("NO_CACHE", given)
    assert variables.flag("NO_CACHE") is False


def test_text_and_list(words: Variable) -> None:
    doit_cmd.set_var("FILE", "a=b c")
    doit_cmd.set_var(words.name, " x, ,y ")
    assert variables.text("FILE") == "a=b c"
    assert resolve(words.name).value == ["x", "y"]


def test_a_default_list_is_a_new_one_each_time(words: Variable) -> None:
    value = resolve(words.name).value
    assert isinstance(value, list)
    value.append("b")
    assert resolve(words.name).value == ["a"]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("NO_CACHE", "maybe", "NO_CACHE: expected 1 or 0, found 'maybe' (hint: NO_CACHE=1)"),
        ("NO_CACHE", "", "NO_CACHE: expected 1 or 0, found '' (hint: NO_CACHE=1)"),
        (
            "PULL", "often",
            "PULL: expected one of auto, never, always, found 'often' (hint: PULL=auto)",
        ),
    ],
)  # fmt: skip
def test_a_bad_value_says_what_is_expected(name: str, given: str, message: str) -> None:
    doit_cmd.set_var(name, given)
    with pytest.raises(UsageError) as caught:
        resolve(name)
    assert str(caught.value) == message


def test_a_bad_value_of_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFO_PULL", "often")
    with pytest.raises(UsageError, match=r"^AIFO_PULL: .*AIFO_PULL=auto\)$"):
        resolve("PULL")


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"NOCACHE: no such variable .*did you mean NO_CACHE\?"):
        variables.check(["PULL", "NOCACHE"])
    with pytest.raises(UsageError, match="known: ALL, "):
        resolve("QQQQQQQQ")


def test_given_lists_what_stands_on_the_command_line() -> None:
    doit_cmd.set_var("B", "1")
    doit_cmd.set_var("A", "2")
    assert variables.given() == ["B", "A"]


def test_params_have_the_values_as_defaults(words: Variable) -> None:
    doit_cmd.set_var("NO_CACHE", "1")
    options = [CmdOption(dict(p)) for p in variables.params("NO_CACHE", "PULL", words.name)]
    parser = TaskParse(options)
    assert dict(parser.parse([])[0]) == {
        "no_cache": True, "pull": "auto", "words_for_test": ["a"],
    }  # fmt: skip
    given = ["--cache", "--pull=never", "--words-for-test", "b", "rest"]
    options_given, rest = parser.parse(given)
    assert (options_given["no_cache"], options_given["pull"], rest) == (False, "never", ["rest"])
    assert "100 % words" in "\n".join(parser["words_for_test"].help_doc())
    assert "always, auto, never" in "\n".join(parser["pull"].help_doc())
