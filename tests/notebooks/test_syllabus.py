"""
The syllabus: every command that Redis has for streams, and every option of it, is run in some lesson, or is in a
sentence of the cheat sheet that a test proves.

A line of the table says what to run, the Redis that brought it, and what a cell looks like that runs it: a method of
redis-py, arguments it gets, arguments it gets not, and, in quotes, words that stand as texts in the same cell; or
``sheet`` and, in quotes, words of the sentence. That
the cells run, and what comes of it, `pytest --nbval` compares.
"""

import ast
import inspect
import re
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
import redis

from tests.notebooks.test_cheat_sheet import NOTES

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TABLE = """
XADD                      5.0   xadd
XADD *                    5.0   xadd without id
XADD ms-seq               5.0   xadd id '5-0'
XADD ms                   5.0   xadd id '7'
XADD ms-*                 7.0   xadd id '7-*'
XADD MAXLEN ~             5.0   xadd maxlen without approximate
XADD MAXLEN =             5.0   xadd maxlen approximate
XADD NOMKSTREAM           6.2   xadd nomkstream
XADD MINID                6.2   xadd minid
XADD LIMIT                6.2   xadd limit
XADD KEEPREF              8.2   sheet 'XADD' 'KEEPREF'
XADD DELREF               8.2   sheet 'DELREF'
XADD ACKED                8.2   sheet 'ACKED'
XADD IDMP                 8.6   xadd idmp
XADD IDMPAUTO             8.6   sheet 'XADD' 'IDMPAUTO'
XCFGSET IDMP-DURATION     8.6   sheet 'XCFGSET'
XCFGSET IDMP-MAXSIZE      8.6   sheet 'XCFGSET'
XLEN                      5.0   xlen
XRANGE - +                5.0   xrange without min
XRANGE COUNT              5.0   xrange count
XRANGE time               5.0   xrange min max '2000' '3000'
XRANGE (                  6.2   xrange min '('
XREVRANGE                 5.0   xrevrange
XREVRANGE (               6.2   xrevrange max '(4000-0'
XDEL                      5.0   xdel
XDELEX KEEPREF            8.2   sheet 'XDELEX' 'KEEPREF'
XDELEX DELREF             8.2   sheet 'DELREF'
XDELEX ACKED              8.2   sheet 'ACKED'
XTRIM MAXLEN =            5.0   xtrim maxlen approximate
XTRIM MINID ~             6.2   xtrim minid without approximate
XTRIM MINID =             6.2   xtrim minid approximate
XTRIM LIMIT               6.2   xtrim limit
XTRIM KEEPREF             8.2   sheet 'XTRIM' 'KEEPREF'
XTRIM DELREF              8.2   sheet 'DELREF'
XTRIM ACKED               8.2   xtrim ref_policy 'ACKED'
XREAD 0                   5.0   xread '0'
XREAD $                   5.0   xread '$'
XREAD +                   7.4   xread '+'
XREAD COUNT               5.0   xread count
XREAD BLOCK               5.0   xread block
XREAD MAXCOUNT            8.10  sheet 'MAXCOUNT'
XREAD MAXSIZE             8.10  sheet 'MAXSIZE'
XGROUP CREATE 0           5.0   xgroup_create id '0'
XGROUP CREATE $           5.0   xgroup_create id '$'
XGROUP CREATE id          5.0   xgroup_create id '3-0'
XGROUP CREATE MKSTREAM    5.0   xgroup_create mkstream
XGROUP CREATE ENTRIESREAD 7.0   xgroup_create entries_read
XGROUP CREATECONSUMER     6.2   xgroup_createconsumer
XGROUP DELCONSUMER        5.0   xgroup_delconsumer
XGROUP DESTROY            5.0   xgroup_destroy
XGROUP SETID              5.0   xgroup_setid
XREADGROUP >              5.0   xreadgroup '>'
XREADGROUP 0              5.0   xreadgroup '0'
XREADGROUP COUNT          5.0   xreadgroup count
XREADGROUP BLOCK          5.0   xreadgroup block
XREADGROUP NOACK          5.0   xreadgroup noack
XREADGROUP CLAIM          8.4   xreadgroup claim_min_idle_time
XREADGROUP MAXCOUNT       8.10  sheet 'MAXCOUNT'
XREADGROUP MAXSIZE        8.10  sheet 'MAXSIZE'
XACK                      5.0   xack
XACKDEL KEEPREF           8.2   xackdel 'KEEPREF'
XACKDEL DELREF            8.2   xackdel 'DELREF'
XACKDEL ACKED             8.2   xackdel 'ACKED'
XNACK SILENT              8.8   xnack 'SILENT'
XNACK FAIL                8.8   xnack 'FAIL'
XNACK FATAL               8.8   xnack 'FATAL'
XNACK RETRYCOUNT          8.8   sheet 'XNACK' 'RETRYCOUNT'
XNACK FORCE               8.8   sheet 'XNACK' 'FORCE'
XPENDING summary          5.0   xpending
XPENDING range            5.0   xpending_range
XPENDING IDLE             6.2   xpending_range idle
XPENDING consumer         5.0   xpending_range consumername
XCLAIM                    5.0   xclaim without justid
XCLAIM JUSTID             5.0   xclaim justid
XCLAIM IDLE               5.0   xclaim idle
XCLAIM TIME               5.0   sheet '`TIME`' '`XCLAIM`'
XCLAIM RETRYCOUNT         5.0   xclaim retrycount
XCLAIM FORCE              5.0   xclaim force
XAUTOCLAIM                6.2   xautoclaim
XAUTOCLAIM cursor         6.2   xautoclaim start_id
XAUTOCLAIM COUNT          6.2   xautoclaim count
XAUTOCLAIM JUSTID         6.2   xautoclaim justid
XAUTOCLAIM deleted        7.0   xautoclaim 'deleted:'
XINFO STREAM              5.0   xinfo_stream
XINFO STREAM FULL         6.0   xinfo_stream full
XINFO STREAM nacked-count 8.8   sheet 'XINFO STREAM FULL' 'nacked-count'
XINFO GROUPS              5.0   xinfo_groups
XINFO GROUPS lag          7.0   xinfo_groups 'lag'
XINFO CONSUMERS           5.0   xinfo_consumers
XINFO CONSUMERS inactive  7.2   xinfo_consumers 'inactive'
MEMORY USAGE              5.0   memory_usage
WAIT                      5.0   wait num_replicas
"""
ROWS = [re.fullmatch(r"(.+?) +(\d+\.\d+) +(.+)", line).groups() for line in TABLE.strip().splitlines()]


def trees(source):
    """Yield the syntax tree of a cell, and those of the programs that stand in it as texts."""
    tree = ast.parse(source)
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
            with suppress(SyntaxError):
                yield from trees(node.value)


def runs(source):
    """Return (method, the names of its arguments) for each call of a redis-py method, and all texts of the cell."""
    calls, texts = [], set()
    for node in (node for tree in trees(source) for node in ast.walk(tree)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        if not isinstance(node, ast.Call):
            continue
        method, given = node.func, node.args
        if getattr(method, "attr", "") == "submit":  # of a thread pool
            method, given = given[0], given[1:]
        name = getattr(method, "attr", "")
        if not hasattr(redis.Redis, name):
            continue
        named = {keyword.arg: ... for keyword in node.keywords if keyword.arg}
        try:
            bound = inspect.signature(getattr(redis.Redis, name)).bind_partial(..., *given, **named)
        except TypeError:
            continue  # somebody else's method of that name
        calls.append((name, set(bound.arguments)))
    return calls, texts


CELLS = [
    (path.stem[:2], *runs(cell.source))
    for path in NOTEBOOKS
    for cell in nbformat.read(path, 4).cells
    if cell.cell_type == "code"
]


def lessons_that_run(spelling):
    """Return the numbers of the lessons with a cell that looks like it, or the sentences of the cheat sheet."""
    words = set(re.findall(r"'([^']+)'", spelling))
    method, *names = re.sub(r"'[^']+'", "", spelling).split()
    if method == "sheet":
        return {sentence for sentence in NOTES if all(word in sentence for word in words)}
    cut = names.index("without") if "without" in names else len(names)
    wanted, unwanted = set(names[:cut]), set(names[cut + 1 :])
    return {
        lesson
        for lesson, calls, texts in CELLS
        for name, given in calls
        if name == method and wanted <= given and not unwanted & given and words <= texts
    }


@pytest.mark.parametrize(("what", "since", "spelling"), ROWS, ids=[row[0] for row in ROWS])
def test_the_course_runs_every_command_and_every_option(what, since, spelling):
    """A learner has met what the manual lists, and the lesson's own output says what it does."""
    assert lessons_that_run(spelling), f"no lesson runs {what}: a cell like `{spelling}`"


def test_every_stream_command_of_the_server_is_in_the_table(client):
    """The table cannot grow stale: a Redis that knows more fails here. Two commands are for Redis itself."""
    known = {name.upper().partition("|")[0] for name in client.acl_cat("stream")}
    assert known - {"XSETID", "XIDMPRECORD"} <= {what.split()[0] for what, since, spelling in ROWS}


def test_a_call_is_seen_however_it_is_written():
    """With names or without, in a thread, and in a program of its own."""
    [call] = runs('r.xgroup_create("orders", "order_group", "0", mkstream=True)')[0]
    assert call == ("xgroup_create", {"self", "name", "groupname", "id", "mkstream"})
    assert runs('threads.submit(r.xread, {"orders": "$"}, block=10)')[0] == [("xread", {"self", "streams", "block"})]
    program = 'P = """\nr.xreadgroup("g", "ann", {"orders": ">"}, noack=True)\n"""'
    assert [name for name, given in runs(program)[0] if "noack" in given] == ["xreadgroup"]
    assert runs("consumer.wait()")[0] == [("wait", {"self"})], "no argument of WAIT"
    assert lessons_that_run("xadd id 'no such id'") == set()
