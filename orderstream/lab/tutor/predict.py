"""
Ask for a prediction before an experiment, then compare it with what happened.

In a lesson the two calls have cells of their own, before and after the experiment. `predict` and `reveal`
are the last expression of their cell, because the learner sees what they return. A lesson names its question, and
`orderstream.lab.lessons.questions` finds it; a teacher's own question stands in the cell::

    lab.predict("01a")

    lab.predict("01.1", "Three entries, one XREAD reads them all. How many are left?", {
        3: "3: reading leaves them",
        0: ("0: reading removes them", "a stream is a queue"),
        1: ("1: reading leaves the last one", "a stream keeps its last entry"),
    })

    lab.reveal("01.1", r.xlen("orders"))

The keys are the values that the experiment may show; it does show exactly one of them. A wrong option also names the
belief of a learner who chooses it. The learner reads it after the run. Options do not stand as they are written, with
the right one first: see `in_order`.

Without a choice, a notebook stores the same for everybody: the question with its options, and what was observed.
Nothing in it says which option is right. The choice is made in a widget. Once the experiment has run, plain HTML stands
in its place, and below the experiment there is a verdict, also as HTML: both are there when the learner comes back with
another kernel. What was chosen is stored in one small file for each prediction, below ``ORDERSTREAM_LAB_HOME`` (default
``~/.orderstream``)::

    predictions/01.1.json   {"id": "01.1", "question": …, "beliefs": ["a stream is a queue"], "held": [],
                             "chosen": "0", "answer": "0: reading removes them",
                             "observed": "3", "right": false, "first": false, "belief": "a stream is a queue"}

``chosen`` and ``observed`` are the `repr` of the values; ``right`` is missing until the experiment has run.
``first`` is what the first run said, also if another option is tried later. ``beliefs`` are those that the question may
reveal, ``held`` those that earlier answers to it have revealed.
"""

import hashlib
import html
import json
import os
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Prediction", "Reveal", "home", "predict", "reveal"]


def home() -> Path:
    """Return the folder that keeps the learner's answers: `ORDERSTREAM_LAB_HOME` or ``~/.orderstream``."""
    return Path(os.environ.get("ORDERSTREAM_LAB_HOME") or "~/.orderstream").expanduser()


def predict(number: str, question: str, options: Mapping[Any, str | tuple[str, str]]) -> "Prediction":
    """
    Ask *question* before the experiment is run.

    Args:
        number: Lesson and number, such as ``"01.1"``. `reveal` uses the same.
        question: One sentence that the experiment answers with one value.
        options: Observed value -> text, or (text, belief) for a wrong one. At least two; three are better, because
            of two a coin gets half right. No full stops.

    Returns:
        The prediction, to be shown as the result of its cell. Without a browser, answer it with
        ``predict(…).choose(value)``.
    """
    _asked[number] = Prediction(number, question, options)
    return _asked[number]


def reveal(number: str, observed: Any) -> "Reveal":
    """
    Show *observed*, what Redis did, beside the prediction *number*, and store whether it was right.

    If *observed* is none of the options, or if the prediction was never asked, a line says so and nothing is raised:
    the learner may run cells in any order, and the notebook should go on.
    """
    return Reveal(number, _asked.get(number), observed)


_asked: dict[str, "Prediction"] = {}


class Option(NamedTuple):
    value: Any
    text: str
    belief: str | None


def in_order(number: str, options: Sequence[Option]) -> list[Option]:
    """
    Return the options of prediction *number* in the order in which a learner sees them.

    An option must not be known by its place. Numbers ascend: any other order would be a hint. Texts stand by a hash of
    the number and the text. Hashes alone leave the right one where chance puts it, and chance may prefer a place: when
    it was tried, the middle one was right in 26 of the course's 62 questions with three options. So the right text
    moves on by one place from each number to the next, 04a, 04b, 04c, and the others stand by their hashes.
    """
    if all(isinstance(option.value, int | float) and not isinstance(option.value, bool) for option in options):
        return sorted(options, key=lambda option: option.value)
    mixed = sorted(options, key=lambda option: hashlib.sha256(f"{number} {option.text}".encode()).digest())
    right = [option for option in mixed if option.belief is None]
    if len(right) == 1:
        mixed.remove(right[0])
        mixed.insert(sum(number.encode()) % len(options), right[0])
    return mixed


class Prediction:
    """A question, its options and, once given, the answer."""

    def __init__(self, number: str, question: str, options: Mapping[Any, str | tuple[str, str]]) -> None:
        if not re.fullmatch(r"\w+(\.\w+)*", number):
            raise ValueError(f"a prediction's id is like '01.1', not {number!r}: it names a file")
        if len(options) < 2:
            raise ValueError(f"prediction {number} needs two options or more")
        self.id, self.question = number, question
        written = [
            Option(value, text, None) if isinstance(text, str) else Option(value, *text)
            for value, text in options.items()
        ]
        self.options = in_order(number, written)
        self._shown: Any = None
        self._status: Any = None
        stored = _load(number)
        known = stored.get("chosen") in [repr(o.value) for o in self.options]
        self.record = {**stored, "id": number, "question": question} if known else {}

    @property
    def chosen(self) -> Option | None:
        """The option that the learner chose; None before that."""
        return next((o for o in self.options if repr(o.value) == self.record.get("chosen")), None)

    def choose(self, value: Any) -> "Prediction":
        """Answer with the option *value* and store it; a choice made earlier is replaced."""
        option = next((o for o in self.options if o.value == value), None)
        if option is None:
            raise ValueError(f"{value!r} is not an option of {self.id}: {[o.value for o in self.options]}")
        before = self.record.get("belief")
        held = [*self.record.get("held", []), *([before] if before else [])]
        about = {"beliefs": [o.belief for o in self.options if o.belief], "held": list(dict.fromkeys(held))}
        answer = {"chosen": repr(option.value), "answer": option.text}
        if "first" in self.record:
            answer["first"] = self.record["first"]
        self.record = {"id": self.id, "question": self.question, **about, **answer}
        self.note = _save(self.record)
        return self

    def settle(self, observed: Option) -> None:
        """Store *observed* as what happened. The choice stands in the place of the widget from now on."""
        chosen = self.chosen
        if chosen is None:
            if self._status is not None:
                self._status.value = _line("You made no prediction here. The next one is yours.")
            return
        right = chosen is observed
        belief = None if right else chosen.belief
        first = self.record.get("first", right)
        self.record |= {"observed": repr(observed.value), "right": right, "first": first, "belief": belief}
        self.note = _save(self.record)
        options = "".join(_line(f"{'●' if option is chosen else '○'} {option.text}") for option in self.options)
        known = _line("The result is known. To choose anew, run this cell again.")
        if self._shown is not None:
            self._shown.update({"text/plain": repr(self), "text/html": own(self._asked() + options + known)}, raw=True)

    def __repr__(self) -> str:
        question = textwrap.fill(self.question, 100)  # GitHub does not wrap the text of an output
        return "\n".join([f"Predict {self.id}", question, *(f"  ( ) {o.text}" for o in self.options)])

    def _repr_mimebundle_(self, **kw: Any) -> dict[str, Any]:
        import ipywidgets as widgets

        # The widget holds the position of an option and not its value, because a value may be anything, even None.
        chosen = self.chosen
        radio = widgets.RadioButtons(
            options=[(o.text, n) for n, o in enumerate(self.options)],
            value=self.options.index(chosen) if chosen else None,
            layout={"width": "auto"},
        )
        said = f"Your earlier choice: {chosen.text}" if chosen else "Choose before you run on."
        self._status = widgets.HTML(_line(said))

        def on_choice(change: Any) -> None:
            self.choose(self.options[change["new"]].value)
            self._status.value = _line(self.note)

        radio.observe(on_choice, "value")
        shown = widgets.VBox([widgets.HTML(self._asked()), radio, self._status])
        return {**shown._repr_mimebundle_(), "text/plain": repr(self)}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self._shown = display(self._repr_mimebundle_(), raw=True, display_id=True)

    def _asked(self) -> str:
        return _line(f"Predict {self.id}: {self.question}", "bold")


class Reveal:
    """
    What happened, beside what was predicted.

    Its text is the same for everybody, and marks no option: whoever has not chosen yet may still do so. `verdict` and
    `marked` are about one learner.
    """

    def __init__(self, number: str, prediction: Prediction | None, observed: Any) -> None:
        self.id, self.prediction, self.observed = number, prediction, observed
        self.option = None
        if prediction is not None:
            self.option = next((o for o in prediction.options if o.value == observed), None)
        if prediction is not None and self.option is not None:
            prediction.settle(self.option)

    @property
    def verdict(self) -> str:
        """A sentence that says whether the learner's own answer was right; empty without one."""
        chosen = self.prediction.chosen if self.prediction else None
        if chosen is None:
            return ""
        if self.option is None:
            return f"You predicted: {chosen.text}. This run does not decide it."
        if chosen is self.option:
            return f"✓ You predicted it: {chosen.text}."
        belief = f" This is what one expects who believes: {chosen.belief}." if chosen.belief else ""
        return f"✗ You predicted: {chosen.text}.{belief}"

    @property
    def marked(self) -> str:
        """A line for each option, the right one marked, and the belief behind each wrong one; empty before a choice."""
        if self.prediction is None or self.option is None or self.prediction.chosen is None:
            return ""
        lines = []
        for option in self.prediction.options:
            lines.append(f"{'✓' if option is self.option else '✗'} {option.text}")
            if option.belief and option is not self.option:
                lines.append(f"    belief: {option.belief}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        if self.prediction is None:
            return f"{self.id}: run the cell that asks this prediction first, then this one again."
        if self.option is None:
            return (
                f"{self.id} observed: {self.observed!r}, which is none of the options. "
                "Run this experiment again from its story."
            )
        return f"{self.id} observed: {self.observed}"

    def _repr_mimebundle_(self, **kw: Any) -> dict[str, Any]:
        text = {"text/plain": repr(self)}
        if not self.verdict:
            return text
        # JupyterLab shows the HTML instead of the text, so the HTML repeats the text.
        told = "\n".join(filter(None, [repr(self), self.marked]))
        shown = f'<pre style="margin: 0; white-space: pre-wrap">{html.escape(told)}</pre>'
        return {**text, "text/html": own(_line(self.verdict, "bold") + shown)}


def own(shown: str) -> str:
    """Return *shown*, which is HTML, marked as the learner's own: ``pytest --nbval`` does not compare it."""
    return f'<div class="orderstream-own">{shown}</div>'


def _line(text: str, weight: str = "normal") -> str:
    """Return *text* for an HTML widget, in the theme's own colours. A screen reader speaks it when it changes."""
    return f'<div role="status" style="font-weight: {weight}; line-height: 1.5">{html.escape(text)}</div>'


# Each prediction has a file of its own, so two notebooks that are open at once do not overwrite each other's answers.
def _path(number: str) -> Path:
    return home() / "predictions" / f"{number}.json"


def _load(number: str) -> dict[str, Any]:
    try:
        record = json.loads(_path(number).read_text("utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
        return record
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        said = f"Your stored prediction {number} cannot be read and starts anew: {_path(number)} ({exc})"
        print(said, file=sys.stderr)
        return {}


def _save(record: dict[str, Any]) -> str:
    """Write *record* in one step: a crash leaves the old file or the new one. Returns a line that says how it went."""
    path = _path(record["id"])
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", "utf-8")
        draft.replace(path)
    except OSError as exc:
        return f"Your choice counts until the kernel stops; it is not stored ({exc.strerror}: {path.parent})."
    return "Stored. You can change it until you run the experiment."
