"""`foleyflow completion`: complete commands, options and values in the shell."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from typer import Argument

COMPLETE_VARIABLE = "_FOLEYFLOW_COMPLETE"


def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"], Argument(help="Shell of the script.")
    ],
) -> None:
    """Print the script that completes commands, options and values in a shell.

    bash: add `source <(foleyflow completion bash)` to ~/.bashrc. zsh: the same, with zsh and
    ~/.zshrc, after compinit. fish: foleyflow completion fish >
    ~/.config/fish/completions/foleyflow.fish
    """
    from typer.completion import get_completion_script

    script = get_completion_script(
        prog_name="foleyflow", complete_var=COMPLETE_VARIABLE, shell=shell
    )
    typer.echo(script)
