"""Every line of the contract names a test that is there, and the README promises nothing else."""

import re

import pytest

from tests.docs.pages import PAGES, README, ROOT

CONTRACT = PAGES["docs/contract.md"]
LINES = re.findall(r"^\| (?!promised|not promised).+", CONTRACT, re.M)
PROOFS = re.findall(r"\]\(\.\./(tests/\S+\.py) \"(test_\w+)\"\)", CONTRACT)


def test_no_line_of_the_contract_lacks_its_proof():
    """A promise without a test is a hope."""
    assert len(LINES) == len(PROOFS) > 15
    assert not [line for line in LINES if '"test_' not in line]


@pytest.mark.parametrize(("path", "test"), PROOFS)
def test_the_proof_is_where_the_contract_says(path, test):
    found = [file for file in ROOT.glob("tests/**/test_*.py") if re.search(rf"^def {test}\(", file.read_text(), re.M)]
    assert [file.relative_to(ROOT).as_posix() for file in found] == [path]


def test_the_readme_promises_what_the_contract_promises():
    """Six of its promises, by their names."""
    promises = re.findall(r"^- (\*\*.+?\*\*)", README.partition("## Six promises")[2], re.M)
    assert len(promises) == 6
    assert not [promise for promise in promises if f"\n| {promise}" not in CONTRACT]
