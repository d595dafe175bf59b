"""A lesson in small that keeps every rule; tests break it, run it and solve it."""

import nbformat

from orderstream.lab.author.refresh import KERNEL

TITLE = "# 01 · A sample\n\n**5 + 10 minutes**"
OBJECTIVES = "## Objectives\n\n- add an entry\n- count entries"
PREDICT = 'lab.predict("01a", "How many?", {1: "one", 0: ("none", "reading removes")})'
RUN = 'answer = 1\nprint("ran")'
REVEAL = 'lab.reveal("01a", answer)'
EXERCISE = 'def double(n: int) -> int:\n    """Return twice *n*."""\n    ...\n\n\nlab.check("99.1", double)'
SOLUTION = """\
<details><summary>Solution 99.1</summary>

```python
def double(n: int) -> int:
    return 2 * n
```

Twice is two times.

</details>"""
WRAP_UP = "## You can now\n\n- add an entry\n- count entries"
TODO = '○ 99.1: not attempted yet (lab.hint("99.1") helps)'

SET_UP = "from orderstream import lab"
JUDGES = '''\
"""Stands in for orderstream/lab/lessons/lesson_99/judges.py: the sample is no lesson of the course."""
from orderstream.lab.tutor.check import exercise

@exercise("99.1", "What is twice?", "Look at *.", "return 2 * …")
def double(answer):
    assert answer(3) == 6, f"twice 3 is 6, not {answer(3)}"
'''


def markdown(name, source, **metadata):
    return nbformat.v4.new_markdown_cell(source, id=name, metadata=metadata)


def code(name, source, *outputs, count=None, **metadata):
    return nbformat.v4.new_code_cell(source, id=name, outputs=list(outputs), execution_count=count, metadata=metadata)


def result(text):
    return nbformat.v4.new_output("execute_result", {"text/plain": text}, execution_count=1)


def printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def picture(text="<Figure>"):
    return nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": text})


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"kernelspec": KERNEL})
