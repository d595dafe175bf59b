"""A checker that finds nothing wrong with a wrong consumer proves nothing."""

import re

import pytest

from tests.model.broken import cases, look

pytestmark = pytest.mark.any_server("what is taken out is ours, not the server's")

MOST_CHOICES = 12


@pytest.mark.parametrize(("name", "scope", "edits"), [pytest.param(*case, id=case[0]) for case in cases()])
def test_what_is_taken_out_is_found_with_few_choices(name, scope, edits, tmp_path):
    code, said = look(tmp_path, edits, scope)
    assert code == 1, said
    (choices,) = re.findall(r"^ +(\d+) choices: ", said, re.M)
    assert int(choices) <= MOST_CHOICES, said
