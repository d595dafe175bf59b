"""
The form of a notebook: each rule takes one as nbformat reads it and names what breaks the rule, cell by cell.

What a lesson author needs to know beyond the rules' own lines:

- The first cell holds the one H1, and says how long it takes: "35 + 20 minutes".
- ``## Objectives`` and ``## You can now`` each hold a bulleted list; both have the same three or so bullets.
- A picture is followed by a sentence: printed by the same cell, or the Markdown cell behind it.
- A code cell whose output is not compared has the tag ``nbval-ignore-output`` and, in its metadata beside
  ``tags``, a ``reason``: {"tags": ["nbval-ignore-output"], "reason": "a live picture"}.
"""

import ast
import re
import statistics
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

RULES = []

TAGS = {"exercise", "raises-exception", "nbval-ignore-output"}
GATE_TAG = re.compile(r"redis>=(\d+\.\d+)")
GATE_LINE = re.compile(r"if lab\.needs\(\"(\d+\.\d+)\"(?:, own\.client)?\):")
MADE_UP_ID = re.compile(r"[0-9a-f]{8}|[0-9a-f-]{32,36}")
PICTURES = {"image/png", "image/jpeg", "image/svg+xml"}
FOLDED = re.compile(r"<details>.*?</details>", re.S)
CLOSED = re.compile(r"<details><summary>(?!Explain|Wrong beliefs).*?</details>", re.S)
"""A hint, a solution, an answer: not read by everybody, as what explains an experiment is."""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def rule(check):
    RULES.append(check)
    return check


def broken(book, folder):
    """Return a line for everything in *book*, a notebook of *folder*, that breaks a rule."""
    return [f"{check.__name__}: {complaint}" for check in RULES for complaint in check(book, folder)]


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def prose(book):
    """Yield every Markdown cell with its text outside of code blocks."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            yield cell, re.sub(r"^```.*?^```", "", cell.source, flags=re.M | re.S)


def headings(book):
    return [
        (cell, len(match[1]), match[2].strip())
        for cell, text in prose(book)
        for match in re.finditer(r"^(#{1,6}) +(.+)$", text, re.M)
    ]


def words(book):
    """Count what there is to read: solutions stay closed, and code is read in another way."""
    texts = [re.sub(r"<summary>.*?</summary>|</?details>", "", CLOSED.sub("", text)) for _, text in prose(book)]
    return len([word for word in " ".join(texts).split() if re.search(r"\w", word)])


def tags(cell):
    return cell.metadata.get("tags", [])


def text_of(output):
    return output.get("text", "") or output.get("data", {}).get("text/plain", "")


@rule
def one_h1_in_the_first_cell(book, folder):
    titles = [cell["id"] for cell, level, _ in headings(book) if level == 1]
    if titles != [book.cells[0]["id"]]:
        yield f"the H1 belongs into the first cell, once; found in {titles or 'none'}"


@rule
def headings_never_jump(book, folder):
    before = 0
    for cell, level, title in headings(book):
        if level > before + 1:
            yield f"{cell['id']}: level {level} ({title!r}) follows level {before}"
        before = level


@rule
def the_first_cell_says_how_long_it_takes(book, folder):
    if not re.search(r"\*\*\d+ \+ \d+ minutes\*\*", book.cells[0].source):
        yield "say it like '**35 + 20 minutes**': python -m orderstream.lab.author.minutes"


@rule
def objectives_are_mirrored_in_the_wrap_up(book, folder):
    bullets = []
    for title in ("Objectives", "You can now"):
        found = [text for _, text in prose(book) if re.search(rf"^## {title}\b", text, re.M)]
        section = re.split(r"^#+ ", found[0].partition(f"## {title}")[2], flags=re.M)[0] if found else ""
        bullets.append(re.findall(r"^(?:[-*]|\d+\.) +(.+(?:\n  .+)*)", section, re.M))
    if bullets[0] != bullets[1] or not 2 <= len(bullets[0]) <= 5:
        yield f"'## Objectives' has the bullets {bullets[0]}, '## You can now' has {bullets[1]}: two to five, the same"


@rule
def images_have_alt_text(book, folder):
    for cell, text in prose(book):
        if re.search(r"!\[\s*\]\(", text) or re.search(r"<img(?![^>]*\balt=\"[^\"]+\")", text):
            yield f"{cell['id']}: an image without words for those who cannot see it"


@rule
def pictures_are_followed_by_a_sentence(book, folder):
    for cell, after in zip(book.cells, [*book.cells[1:], None], strict=True):
        outputs = cell.get("outputs", [])
        drawn = [n for n, output in enumerate(outputs) if PICTURES & set(output.get("data", {}))]
        if not drawn:
            continue
        said = any(re.search(r"\w.*[.!?]", text_of(output)) for output in outputs[drawn[-1] + 1 :])
        if not said and not (after and after.cell_type == "markdown" and not after.source.startswith("#")):
            yield f"{cell['id']}: say in a sentence what the picture shows"


@rule
def cells_are_short(book, folder):
    lines = {cell["id"]: len(cell.source.splitlines()) for cell in code(book)}
    for name, count in lines.items():
        if count > 20:
            yield f"{name}: {count} lines of code, at most 20"
    if lines and statistics.median(lines.values()) > 8:
        yield f"the median code cell has {statistics.median(lines.values())} lines, at most 8"


@rule
def lines_of_code_need_no_scrollbar(book, folder):
    """Beside the file browser of JupyterLab, a window of 1280 pixels has room for 88 characters and a little more."""
    texts = [(cell["id"], cell.source) for cell in code(book)]
    texts += [
        (cell["id"], block)
        for cell in book.cells
        if cell.cell_type == "markdown"
        for block in re.findall(r"^```(?!mermaid)\w*\n(.*?)^```", cell.source, re.M | re.S)  # a diagram is drawn
    ]
    for name, text in texts:
        for line in text.splitlines():
            if len(line) > 88:
                yield f"{name}: {len(line)} characters, at most 88: {line}"


@rule
def nobody_waits_for_a_guess(book, folder):
    for cell in code(book):
        for call in re.findall(r"\bsleep\(([^)]*)\)", cell.source):
            if not re.fullmatch(r"0?\.[01]\d*|0?\.20*|0", call.strip()):
                yield f"{cell['id']}: sleep({call}); wait for a condition, with pauses of 0.2 s or less"


@rule
def ids_are_unique_and_readable(book, folder):
    for name, count in Counter(cell["id"] for cell in book.cells).items():
        if count > 1 or MADE_UP_ID.fullmatch(name):
            yield f"{name}: make refresh gives it a name"


@rule
def everything_was_run_in_order(book, folder):
    counts = [cell.execution_count for cell in code(book)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: make refresh"


@rule
def outputs_are_canonical(book, folder):
    if "widgets" in book.metadata:
        yield "the notebook stores widget state: make refresh"
    for cell in code(book):
        for output in cell.outputs:
            data = output.get("data", {})
            if WIDGET_VIEW in data:
                yield f"{cell['id']}: a widget nobody can show again: give it a text or a picture, make refresh"
            if output.get("name") == "stderr":
                yield f"{cell['id']}: writes to stderr"
            if path := re.search(r"(?<![\w.:/])/(home|root|tmp|Users|var|opt|private)/\S*", text_of(output)):
                yield f"{cell['id']}: shows a path of this machine, {path[0]}"
        if extra := set(cell.metadata) - {"tags", "reason"}:
            yield f"{cell['id']}: has metadata {sorted(extra)}: make refresh"


@rule
def tags_are_known(book, folder):
    for cell in book.cells:
        for tag in tags(cell):
            if tag not in TAGS and not GATE_TAG.fullmatch(tag):
                yield f"{cell['id']}: unknown tag {tag!r}; known are {', '.join(sorted(TAGS))}, redis>=X.Y"


@rule
def few_outputs_are_ignored_each_with_a_reason(book, folder):
    ignored = [cell for cell in code(book) if "nbval-ignore-output" in tags(cell)]
    if len(ignored) > 0.15 * len(code(book)):
        yield f"{len(ignored)} of {len(code(book))} outputs are not compared, at most 15 %"
    for cell in ignored:
        if not cell.metadata.get("reason"):
            yield f"{cell['id']}: ignored without a reason in its metadata"
    for cell in code(book):
        if re.search(r"^\s*# *(NBVAL|PYTEST)_", cell.source, re.M):
            yield f"{cell['id']}: steer nbval with a tag, not with a comment the learner reads"


@rule
def gates_and_tags_agree(book, folder):
    for cell in code(book):
        first = cell.source.splitlines()[0] if cell.source else ""
        asked = [match[1] for match in [GATE_LINE.match(first)] if match]
        tagged = [match[1] for match in map(GATE_TAG.fullmatch, tags(cell)) if match]
        if asked != tagged or cell.source.count("lab.needs(") != len(asked):
            yield f"{cell['id']}: tagged {tagged}, asks for {asked} in its first line: they must agree"


@rule
def links_lead_somewhere(book, folder):
    anchors = {title.replace(" ", "-") for *_, title in headings(book)}
    for cell, text in prose(book):
        for target in re.findall(r"\]\(([^)\s]+)\)|<img[^>]*\bsrc=\"([^\"]+)\"", text):
            path, _, anchor = unquote("".join(target)).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            if path and not (Path(folder) / path).exists():
                yield f"{cell['id']}: {path} does not exist"
            if not path and anchor not in anchors:
                yield f"{cell['id']}: no heading for #{anchor}"


def calls(book, name):
    """Yield (cell, id) for every call ``lab.<name>("<id>", …)``."""
    for cell in code(book):
        for found in re.finditer(rf"\blab\.{name}\(\s*\"([^\"]+)\"", cell.source):
            yield cell, found[1]


@rule
def every_prediction_is_revealed_once_and_later(book, folder):
    place = {cell["id"]: n for n, cell in enumerate(book.cells)}
    asked = [(name, place[cell["id"]]) for cell, name in calls(book, "predict")]
    shown = [(name, place[cell["id"]]) for cell, name in calls(book, "reveal")]
    if Counter(name for name, _ in asked) != Counter(name for name, _ in shown) or len(dict(asked)) < len(asked):
        yield f"asked {[name for name, _ in asked]}, revealed {[name for name, _ in shown]}: each once"
    for name, where in asked:
        if dict(shown).get(name, where + 1) <= where:
            yield f"{name}: reveal it in a cell behind the question"


@rule
def what_explains_an_experiment_is_folded(book, folder):
    """Before a cell is run it has no output, so what stands below it is on the screen of the question."""
    for cell, text in prose(book):
        if re.search(r"\*(Explain|Wrong beliefs)\b", FOLDED.sub("", text)):
            yield f"{cell['id']}: what explains an experiment stands in <details>"


@rule
def every_wrong_option_is_a_belief(book, folder):
    for cell, number in calls(book, "predict"):
        call = ast.parse(cell.source).body[-1].value
        if len(call.args) == 1:  # a question of the lesson; tests/lab/test_questions.py looks at these
            continue
        texts = call.args[2].values if isinstance(call.args[2], ast.Dict) else []
        right = [text for text in texts if not (isinstance(text, ast.Tuple) and len(text.elts) == 2)]
        if len(right) != 1:
            yield f"{cell['id']}: {number} has {len(right)} options without a belief; the right one alone has none"


@rule
def predictions_and_verdicts_are_the_last_line_of_their_cell(book, folder):
    for name in ("predict", "reveal", "check"):
        for cell, number in calls(book, name):
            last = ast.parse(cell.source).body[-1]
            if not isinstance(last, ast.Expr) or f"lab.{name}(" not in ast.unparse(last):
                yield f"{cell['id']}: lab.{name}({number!r}, …) shows nothing unless it stands last"


@rule
def exercises_and_checks_agree(book, folder):
    checked = {cell["id"]: number for cell, number in calls(book, "check")}
    tagged = {cell["id"] for cell in book.cells if "exercise" in tags(cell)}
    if set(checked) != tagged:
        yield f"cells {sorted(set(checked) ^ tagged)}: the tag 'exercise' and lab.check(…) belong together"
    for cell in code(book):
        said = "".join(map(text_of, cell.outputs))
        number = checked.get(cell["id"])
        if number and not said.rstrip().endswith(f'○ {number}: not attempted yet (lab.hint("{number}") helps)'):
            yield f"{cell['id']}: the committed exercise must say 'not attempted yet', it says {said!r}"
