# SPDX-License-Identifier: Apache-2.0
"""Starting the command line."""

import subprocess
import sys

HEAVY = ("numpy", "yaml", "networkx", "ortools", "rich", "scipy")
LOADED = """
import contextlib, io, sys
from placement.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    for words in {commands!r}:
        assert main([*words, "--help"]) == 0, words
assert "Usage: placement" in out.getvalue()
print(*[m for m in {heavy!r} if m in sys.modules])
"""


def loaded(commands, heavy):
    """Which of the heavy libraries a fresh interpreter holds after printing the help of these commands."""
    code = LOADED.format(commands=commands, heavy=heavy)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


COMPLETE = "import sys; sys.argv[0] = 'placement'; from placement.cli.app import app_of; app_of()(prog_name='placement')"


def test_help_imports_nothing_heavy():
    """`placement --help` loads none of the heavy libraries, pydantic included."""
    assert loaded([[]], (*HEAVY, "pydantic")) == []


def test_help_of_a_command_imports_nothing_heavy():
    """The help of each command loads no heavy library either; pydantic it does, since typer reads options with it."""
    import typer

    from placement.cli.app import app_of

    commands = typer.main.get_command(app_of()).commands
    assert {"plan", "verify", "topology"} <= set(commands)
    assert loaded([[name] for name in commands], HEAVY) == []


def test_no_arguments_is_a_usage_error_that_prints_help(capsys):
    """`placement` alone prints the help and exits with the usage code."""
    from placement.cli.main import main

    assert main([]) == 2
    captured = capsys.readouterr()
    assert "Usage: placement" in captured.out + captured.err


def test_python_m_and_the_script_are_the_same_program():
    """`python cli.py --version` and `python -m placement --version` print the same."""
    script, module = (
        subprocess.run([sys.executable, *how, "--version"], capture_output=True, text=True, check=True).stdout
        for how in (["cli.py"], ["-m", "placement"])
    )
    assert script == module
    assert script.startswith("placement ")


def test_the_shell_completes_commands_and_choices():
    """What `--install-completion` installs asks the program for words: commands, and the values of a choice."""
    import os

    for typed, expected in (("placement w", {"why"}), ("placement why plan ", {"rank", "stage", "node", "link", "axis"})):
        env = os.environ | {
            "_PLACEMENT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1),
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-c", COMPLETE], capture_output=True, text=True, env=env, check=False)
        assert set(done.stdout.split()) == expected, done.stderr
