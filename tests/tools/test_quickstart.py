"""The quickstart's reader and its embeddings."""

import math

import pytest

from embedding import DIMENSIONS, embed
from packages import installed

STATUS = """Package: less
Status: install ok installed
Section: text
Installed-Size: 318
Maintainer: Milan Kupcevic <milan@debian.org>
Version: 590-2
Provides: pager
Depends: libc6 (>= 2.34), libtinfo6 (>= 6) | libtinfo5
Description: pager program similar to more
 The first paragraph
 goes on.
 .
 The second.

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36
Description: C library

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36
Description: C library

Package: libtinfo5
Status: install ok installed
Version: 5
Depends: pager:any, absent

Package: gone
Status: deinstall ok config-files
Version: 1
"""


@pytest.fixture
def packages(tmp_path):
    status = tmp_path / "status"
    status.write_text(STATUS)
    return {package.name: package for package in installed(status)}


def test_removed_packages_are_left_out_and_two_architectures_count_once(packages):
    assert sorted(packages) == ["less", "libc6", "libtinfo5"]


def test_description_is_split_into_title_and_paragraphs(packages):
    less = packages["less"]
    assert less.title == "pager program similar to more"
    assert less.paragraphs == ["The first paragraph goes on.", "The second."]
    assert (less.version, less.installed_kb, less.section, less.maintainer) == ("590-2", 318, "text", "Milan Kupcevic")


def test_first_installed_alternative_stands_for_a_dependency(packages):
    assert packages["less"].needs == ["libc6", "libtinfo5"]


def test_provider_stands_for_a_virtual_package_and_an_absent_one_for_nothing(packages):
    assert packages["libtinfo5"].needs == ["less"]


def test_missing_fields_do_not_lose_a_package(packages):
    assert packages["libtinfo5"].title == "libtinfo5"
    assert packages["libc6"].installed_kb is None


def test_embedding_is_a_unit_vector_and_the_same_each_time():
    vector = embed("compress files")
    assert len(vector) == DIMENSIONS
    assert math.isclose(sum(value * value for value in vector), 1.0)
    assert vector == embed("compress files")


def test_embedding_of_no_words_is_a_unit_vector_too():
    assert math.isclose(sum(value * value for value in embed("")), 1.0)


def test_related_texts_are_nearer_than_unrelated_ones():
    query = embed("compressing a file")

    def likeness(text):
        return sum(a * b for a, b in zip(query, embed(text)))

    assert likeness("file compression utilities") > 2 * abs(likeness("desktop wallpaper"))
