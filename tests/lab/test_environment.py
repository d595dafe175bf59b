"""The environment check of lesson 00 finds what is wrong and says what to type."""

from orderstream.lab.tutor.environment import Environment, Finding, folder, package, python, redis_server
from orderstream.software import Software


def test_an_old_python_is_found():
    """The repair names a Python that would do."""
    assert not python((3, 11)).repair
    assert "3.9" in python((3, 9)).repair
    assert "PYTHON=" in python((3, 9)).repair


def test_an_old_redis_is_found():
    """The repair is to let the lab start its own."""
    assert redis_server(Software("Redis", (6, 2, 14))) == Finding("Redis answers, with the commands of Redis 6.2")
    assert "this is Redis 5.0.14; unset REDIS_URL" in redis_server(Software("Redis", (5, 0, 14))).repair


def test_a_valkey_is_called_by_its_name():
    found = redis_server(Software("Valkey", (9, 1, 2)))
    assert found == Finding("Valkey answers, with the commands of Redis 6.2")


def test_a_missing_package_is_found():
    """The kernel may come from another environment than the lessons."""
    assert not package("ipywidgets", "8", "sliders").repair
    assert "make lab" in package("ipywidgets", "7", "sliders").repair
    assert "missing" in package("no-such-package", "1", "nothing").repair


def test_a_folder_that_cannot_be_written_is_found(tmp_path):
    """A file stands where the folder should be: nobody, not even root, can write into it."""
    assert not folder(tmp_path / "new" / "home").repair
    (tmp_path / "file").write_text("")
    assert "ORDERSTREAM_LAB_HOME" in folder(tmp_path / "file").repair


def test_one_bad_finding_spoils_the_verdict():
    """The last line says what to do next."""
    well = Environment((Finding("Python"), Finding("Redis")))
    ill = Environment((Finding("Python"), Finding("Redis", "start one")))
    assert well.ready
    assert repr(well).endswith("Every lesson will run here.")
    assert not ill.ready
    assert "✗ Redis\n    start one\nRepair" in repr(ill)
