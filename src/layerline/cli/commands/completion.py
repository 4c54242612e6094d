"""`completion`: scripts with which shells complete command lines, and what they ask.

The scripts ask `__complete`, which answers as the library of the Dagger CLI does
(https://github.com/spf13/cobra/blob/v1.9.1/completions.go): a candidate on each line with a tab
before its description, and the directive at the end.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from layerline.cli.commands.flag_parsing import print_help
from layerline.cli.completion.candidates import candidates
from layerline.cli.flags import FlagSet
from layerline.errors import UsageError
from layerline.suggestion import what_instead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from layerline.cli.completion.candidates import HelpOf
    from layerline.cli.console import Console

SHELLS = ("bash", "fish", "powershell", "zsh")
_ABOUT = """Generate the autocompletion script for a shell: bash, fish, powershell or zsh.

To load completions in the current shell:

  bash:        source <({program} completion bash)
  zsh:         source <({program} completion zsh)
  fish:        {program} completion fish | source
  powershell:  {program} completion powershell | Out-String | Invoke-Expression

For every new session, write the script to:

  bash:  ~/.local/share/bash-completion/completions/{program}
  zsh:   a file _{program} in a directory of $fpath
  fish:  ~/.config/fish/completions/{program}.fish"""


def completion(console: Console, argv: Sequence[str]) -> int:
    """Print the script for a shell."""
    path = f"{console.program} completion"
    try:
        operands = FlagSet((console.flags,)).parse(argv)
    except UsageError as exc:
        raise UsageError(str(exc), usage=path) from exc
    console.settle()
    if console.options.help or not operands:
        about = _ABOUT.format(program=console.program)
        print_help(console, about=about, path=path, use="[command]")
        return 0
    if len(operands) > 1 or operands[0] not in SHELLS:
        wrong = operands[operands[0] in SHELLS]
        message = f'unknown command "{wrong}" for "{path}"'
        if operands[0] not in SHELLS:
            message += what_instead(wrong, SHELLS)
        raise UsageError(message, usage=path)
    # One name at a time: in Python 3.11 `joinpath` of a directory without code takes no more.
    scripts = files("layerline.resources").joinpath("completion")
    script = scripts.joinpath(f"{operands[0]}.txt").read_text()
    console.print(script.replace("PROGRAM", console.program))
    return 0


def complete(
    console: Console, argv: Sequence[str], commands: Mapping[str, str], help_of: HelpOf
) -> int:
    """Print what the last of some arguments can be completed to."""
    found = candidates(console, argv, commands, help_of)
    lines = [f"{name}\t{about}" if about else name for name, about in found.words]
    console.print("".join(f"{line}\n" for line in (*lines, f":{found.directive}")))
    return 0
