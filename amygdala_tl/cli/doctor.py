"""`doctor`: whether everything that the other commands need is there."""

import typer
from rich.text import Text

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import print_json, printer

_STYLES = {"ok": "green", "absent": "yellow", "broken": "bold red"}


def doctor(as_json: options.Json = False) -> None:
    """Check the installation without the network, and exit with 1 if something is broken."""
    from amygdala_tl.api.doctor import doctor as run

    found = run()
    broken = any(each.state == "broken" for each in found)
    if as_json:
        print_json({"ok": not broken, "findings": found})
    else:
        wide = max(len(each.name) for each in found)
        for each in found:
            said = f"{each.name:<{wide}}  {each.found}" + (f": {each.remedy}" if each.remedy else "")
            printer().print(Text.assemble((f"{each.state:<8}", _STYLES[each.state]), said), soft_wrap=True)
    if broken:
        raise typer.Exit(1)
