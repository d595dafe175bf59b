"""
The parts of single lessons: their predictions, the judges of their exercises, and the moving pictures that only one
lesson has.

    pace           threads that read a stream, each at its own pace, and their moving picture (01, 02, 10)
    group_panel    the same for the consumers of one group (02, 10)
    overdue        a stream with pending entries of any age, for judges (04, 10)
    lesson_NN/     the files of lesson NN only: ``predictions.py`` holds the questions ``NNa``, ``NNb``, …,
                   and ``judges.py`` the judges of ``NN.1``, ``NN.2``, …
    questions      finds a question, and counts the answers of a lesson: ``lab.predict`` and ``lab.score``
    exercises      finds the judge of an exercise: ``lab.check`` and ``lab.hint``

No lesson imports another. Files that two lessons share are here, beside them.

How to write a prediction
-------------------------

The notebook names it, ``lab.predict("04a")``; text, options and beliefs stand in ``predictions.py``, with the right
option first, the only one without a belief. A prediction that can be answered without thinking of Redis measures
nothing. So:

- There are three options or more, alike in form: if one gives a reason, all do, and the right one is not the longest.
- Each wrong option is what somebody expects who believes something that people do believe.
- Nothing above the question answers it: not the story, not a heading, not a table of the experiment before.

How to write a judge
--------------------

A judge gets the learner's answer, asserts what must hold, and returns. The learner sees only the message of a failed
assertion. So it names the broken invariant and the evidence, in plain words::

    from orderstream.lab.tutor.check import exercise


    @exercise(
        "01.1",
        "Which end of the stream holds the newest entry?",
        "Look at XREVRANGE and its COUNT.",
        "r.xrevrange('orders', count=…) returns a list of (id, fields); you want the id of its first pair.",
    )
    def newest_id(answer):
        ids = answer([("1-0", {}), ("2-0", {})])
        assert ids == "2-0", f"the newest entry has the greatest id: expected 2-0, got {ids}"

A judge never looks at the clock, never sleeps and leaves no key behind. It may run the answer. If the answer raises,
`check` turns the error into a line. `raise NotImplementedError` means "not attempted yet". A judge that needs Redis
uses `server.current()` of `orderstream.lab.server`: its ``client``, and ``fresh("check")`` before and after. It gives
the answer the client of a `Witness` with some patience: then a loop without an end gets a verdict, and does not hang.

In the notebook:

- The exercise cell has the tag ``exercise``, holds the stub (typed, with a docstring, its body `...`) and ends with
  the line ``lab.check("01.1", newest_id)``.
- The next cell is Markdown and holds the solution, closed until the reader opens it. The text of its code block
  replaces everything in the exercise cell except the last line::

    <details><summary>Solution 01.1</summary>

    ```python
    def newest_id(entries):
        return entries[-1][0]
    ```

    Why it works, in a sentence or two.

    </details>

- ``tests/notebooks/wrong_answers.py`` lists wrong answers for each exercise, with words of the verdict. They fail for
  three different reasons or more, and the first is what a hasty learner writes who has read the lesson. Think of one
  that reads everything, one that sees the first page only, one that loses a race, and one that loops for ever.
"""
