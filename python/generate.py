"""generate.py FOLDER < COMMANDS: writes the functions of the Python module, one for
each verb of the program and each operator of growth, out of what `annuli --commands`
prints: their names, options, types and help are those of the command line."""

from __future__ import annotations

import json
import keyword
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Value = dict[str, Any]

HEAD = '''"""{title}"""

# Made by python/generate.py of what `annuli --commands` prints.

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from . import _program, _runs
from ._program import Text

__all__ = [{names}]
'''

# These print as they work, and give back nothing.
SHOWN = ("study", "watch")

# Beside the program's options; see Callback below.
RUN_EXTRAS = (
    (
        "on_record: Callable[[_runs.Record], object] | None = None",
        "on_record: is called with each record that is added to the history, as it "
        "comes",
    ),
    (
        "quiet: bool = False",
        "quiet: print nothing; else each line of the program is printed as it comes",
    ),
)


def python_name(name: str) -> str:
    name = name.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def in_python(help_text: str) -> str:
    """Flags that a help text names, as parameters."""
    return re.sub(
        r"--([a-z][a-z0-9-]*[a-z0-9])",
        lambda match: python_name(match[1]),
        help_text,
    )


def type_of(value: Value) -> str:
    if value["type"] == "flag":
        if value.get("default"):
            raise SystemExit(f"--{value['name']}: a flag that is set by default")
        return "bool | Text" if "value" in value else "bool"
    if value["type"] == "word":
        words = ", ".join(f'"{word}"' for word in value["words"])
        plain = f"Literal[{words}]"
    else:
        plain = {"integer": "int", "number": "float", "text": "Text"}[
            value["type"]
        ]
    if value.get("none"):
        plain = f'{plain} | Literal["none"]'
    if value.get("many") or value.get("joined"):
        return f"{plain} | Sequence[{plain}]"
    return plain


def parameter(value: Value) -> str:
    name, kind = python_name(value["name"]), type_of(value)
    if value.get("required"):
        return f"{name}: {kind}"
    if value["type"] == "flag":
        return f"{name}: {kind} = False"
    return f"{name}: {kind} | None = None"


def described(value: Value) -> str:
    default = f" (default: {value['default']})" if value.get("default") else ""
    return f"{python_name(value['name'])}: {in_python(value['help'])}{default}"


def item(value: Value) -> str:
    name = python_name(value["name"])
    given = f"_program.Joined({name})" if value.get("joined") else name
    return f'            "{value["name"]}": {given},'


@dataclass
class Function:
    """A verb as a function: what calls it, and what it gives back."""

    name: str
    words: list[str]
    help: str
    arguments: list[Value]
    options: list[Value]

    def text(self) -> str:
        report = next((o for o in self.options if o["name"] == "json"), None)
        extras: tuple[tuple[str, str], ...] = ()
        options = self.options
        if self.words == ["run"]:
            call, returns, extras = "_runs.run", "Path", RUN_EXTRAS
        elif self.words[0] in SHOWN:
            call, returns = "_program.show", "None"
        elif report is None:
            call, returns = "_program.call", "str"
        elif report["type"] == "flag":
            call, returns = "_program.call_json", "Any"
            options = [o for o in options if o is not report]
        else:
            call, returns = "_program.call_report", "dict[str, Any]"
        return self._define(call, returns, options, extras)

    def _define(
        self,
        call: str,
        returns: str,
        options: list[Value],
        extras: tuple[tuple[str, str], ...],
    ) -> str:
        values = [parameter(value) for value in self.arguments]
        values += ["*"] if options or extras else []
        values += sorted(
            (parameter(value) for value in options), key=lambda p: "=" in p
        )
        values += [declared for declared, _ in extras]
        lines = [f"def {self.name}("]
        lines += [f"    {value}," for value in values]
        lines += [f") -> {returns}:", self._docstring(options, extras)]
        lines += self._body(call, returns, options)
        return "\n".join(lines)

    def _docstring(
        self, options: list[Value], extras: tuple[tuple[str, str], ...]
    ) -> str:
        sentence = in_python(self.help).rstrip(".") + "."
        paragraphs = [textwrap.fill(sentence, 76), ""]
        notes = [described(value) for value in [*self.arguments, *options]]
        notes += [note for _, note in extras]
        paragraphs += [
            textwrap.fill(note, 76, subsequent_indent="    ") for note in notes
        ]
        text = "\n".join(paragraphs).replace("\\", "\\\\")
        return textwrap.indent(f'"""{text}\n"""', "    ")

    def _body(
        self, call: str, returns: str, options: list[Value]
    ) -> list[str]:
        arguments = ", ".join(python_name(v["name"]) for v in self.arguments)
        passed = [o for o in options if o["name"] != "json" or returns == "None"]
        lines = ["    " + ("" if returns == "None" else "return ") + f"{call}("]
        if call == "_runs.run":
            lines += [f"        {arguments},"]
        else:
            lines += [f"        {json.dumps(self.words)},"]
            lines += [f"        [{arguments}],"]
        lines += ["        {", *map(item, passed), "        },"]
        if call == "_program.call_report":
            lines += ["        json,"]
        if call == "_runs.run":
            lines += ["        on_record,", "        quiet,"]
        return [*lines, "    )"]


def function_of(verb: Value, words: list[str]) -> Function:
    return Function(
        python_name(verb["name"]),
        [*words, verb["name"]],
        verb["help"],
        verb["arguments"],
        verb["options"],
    )


def run_function(verb: Value) -> Function:
    """Without --plan-help, which is `annuli.plan_help`, a plan is needed."""
    function = function_of(verb, [])
    function.arguments = [{**verb["arguments"][0], "required": True}]
    function.options = [o for o in verb["options"] if o["name"] != "plan-help"]
    return function


def replay_function(grow: Value) -> Function:
    """`annuli grow --replay LINEAGE PARENT`."""
    return Function(
        "replay",
        ["grow"],
        "Carry out a growth that was made before once more, to the same bytes",
        [{"name": "parent", "type": "text", "required": True,
          "help": "The parent that was grown"}],
        [{**o, "required": o["name"] == "replay",
          "help": o["help"].replace("With --replay: ", "")}
         for o in grow["options"] if o["name"] != "json"],
    )


OPERATOR_HEAD = '''"""The operators, for growth in memory: what each function makes is given to
`annuli.torch.grow`."""

# Made by python/generate.py of what `annuli --commands` prints.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ._operator import Growth, chain, growth

if TYPE_CHECKING:
    import torch

Text = str

__all__ = [{names}]
'''


def operator_text(verb: Value) -> str:
    """An operator's own options, which stand before `--out`. `with` names models."""
    names = [option["name"] for option in verb["options"]]
    options = verb["options"][: names.index("out")]
    name = python_name(verb["name"])
    own = [o for o in options if o["name"] not in ("optimizer", "dynamics", "with")]
    merges = "with" in names
    parameters = [parameter(option) for option in options if option["name"] != "with"]
    models = ["with_: Sequence[torch.nn.Module]"] if merges else []
    notes = [described(o) for o in options if o["name"] != "with"]
    notes += ["with_: The other models, of one shape with the first"] if merges else []
    sentence = in_python(verb["help"]).rstrip(".") + "."
    text = "\n".join(
        [textwrap.fill(sentence, 76), ""]
        + [textwrap.fill(note, 76, subsequent_indent="    ") for note in notes]
    ).replace("\\", "\\\\")
    lines = [f"def {name}(", "    *,"]
    lines += [f"    {declared}," for declared in models + parameters]
    lines += [") -> Growth:", textwrap.indent(f'"""{text}\n"""', "    ")]
    lines += ["    return growth(", f'        "{name}",', "        {"]
    lines += [f'            "{python_name(o["name"])}": {python_name(o["name"])},' for o in own]
    if merges:
        lines += ['            "with": [f"in memory {i + 2}" for i in range(len(with_))],']
    lines += ["        },", "        optimizer,", "        dynamics,"]
    lines += ["        with_,"] if merges else []
    return "\n".join([*lines, "    )"])


def write_operators(path: Path, verbs: list[Value]) -> None:
    own = [verb for verb in verbs if verb["name"] != "chain"]
    names = [python_name(verb["name"]) for verb in own] + ["Growth", "chain"]
    listed = ", ".join(f'"{name}"' for name in names)
    parts = [OPERATOR_HEAD.format(names=listed)] + [operator_text(v) for v in own]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write(path: Path, title: str, functions: list[Function]) -> None:
    names = ", ".join(f'"{function.name}"' for function in functions)
    parts = [HEAD.format(title=title, names=names)]
    parts += [function.text() for function in functions]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    commands = json.load(sys.stdin)
    verbs = {verb["name"]: verb for verb in commands["verbs"]}
    grow = verbs.pop("grow")
    write(
        folder / "_verbs.py",
        "The verbs of the program.",
        [
            run_function(verb) if name == "run" else function_of(verb, [])
            for name, verb in verbs.items()
        ],
    )
    write(
        folder / "grow.py",
        "Growth from disk to disk: a function for each operator.",
        [function_of(verb, ["grow"]) for verb in grow["verbs"]]
        + [replay_function(grow)],
    )
    write_operators(folder / "_operators.py", grow["verbs"])
    (folder / "_versions.py").write_text(
        '"""The program\'s version, and that of the torch it was built with."""\n\n'
        f'VERSION = "{commands["annuli"]}"\nTORCH = "{commands["torch"]}"\n'
    )


main()
