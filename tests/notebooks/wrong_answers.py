"""
Known wrong answers, so that no judge passes everything: exercise -> [(answer, words its verdict must contain)].

An answer is code, like the printed solution: it replaces the exercise cell but for its last line, the check.
"""

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {}
