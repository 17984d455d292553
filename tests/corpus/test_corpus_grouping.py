import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.corpus.build import matching_kinds
from amygdala_tl.corpus.grouping import group_of, split_of
from amygdala_tl.errors import InputError

KINDS = frozenset({"episodicSession", "episodicDaily", "episodicWeekly", "semantic", "Person"})


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("journal-2031-03-04.md#the-queue", "2031-03-04"),
        ("journal-2031-03-04.md", "2031-03-04"),
        ("weekly-2031-W25.md#y", "2031-W25"),
        ("weekly-2031-w25.md", "2031-W25"),
        ("daily-2031-03-04T10.md#2031-03-05", "2031-03-04"),
        ("note-2031-13-45.md#x", "note-2031-13-45.md"),
        ("note-2031-W60.md#x", "note-2031-W60.md"),
        ("2031-02-30 moved to 2031-03-01", "2031-03-01"),
        ("part-12031-03-04.md#x", "part-12031-03-04.md"),
        ("identity.md#boundaries", "identity.md"),
        ("Alice", "Alice"),
        ("#loose", "#loose"),
        ("", ""),
    ],
)
def test_a_key_belongs_to_its_day_or_week_or_document(key: str, group: str) -> None:
    assert group_of(key) == group


@pytest.mark.parametrize(
    ("key", "text", "group"),
    [
        ("Diary, note 3", "2031-03-04: the boat came.", "2031-03-04"),
        ("Diary, note 3", "On 4 March 2031 the boat came.", "2031-03-04"),
        ("Diary, note 3", "Tuesday, Mar 4th, 2031. The boat came.", "2031-03-04"),
        ("Diary, note 3", "2031/3/4 08:00 The boat came.", "2031-03-04"),
        ("Diary, note 3", "2031\u5e743\u67084\u65e5", "2031-03-04"),
        ("Diary, note 3", "The boat 31 May 20315 came in 2031-02-30.", "Diary, note 3"),
        ("2031-03-04, note 2", "It began on 2031-01-01.", "2031-03-04"),
        ("identity.md#boundaries", "It began on 2031-01-01.", "identity.md"),
    ],
)
def test_a_note_without_a_day_in_its_key_belongs_to_the_day_in_its_text(key: str, text: str, group: str) -> None:
    assert group_of(key, text) == group


@given(st.text())
def test_every_key_has_a_group(key: str) -> None:
    assert isinstance(group_of(key), str)


@given(group=st.text(), seed=st.integers(), fractions=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)))
def test_a_larger_heldout_fraction_holds_out_a_superset(group: str, seed: int, fractions: tuple[float, float]) -> None:
    small, large = sorted(fractions)
    if split_of(group, heldout_fraction=small, seed=seed) == "heldout":
        assert split_of(group, heldout_fraction=large, seed=seed) == "heldout"


def test_no_group_is_held_out_at_fraction_zero_and_about_a_fifth_at_one_fifth() -> None:
    groups = [f"2031-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    assert not any(split_of(g, heldout_fraction=0.0, seed=0) == "heldout" for g in groups)
    held_out = sum(split_of(g, heldout_fraction=0.2, seed=0) == "heldout" for g in groups)
    # 336 groups: five standard deviations (7.3 each) around 67.
    assert 30 < held_out < 104


def test_another_seed_holds_out_other_groups() -> None:
    groups = [f"document-{i}" for i in range(100)]
    sides = [[split_of(group, heldout_fraction=0.5, seed=seed) for group in groups] for seed in (0, 1)]
    assert sides[0] != sides[1]


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        (None, KINDS),
        (("journal",), {"episodicSession"}),
        (("Digest",), {"episodicDaily", "episodicWeekly"}),
        (("pattern", " EPISODICSESSION "), {"semantic", "episodicSession"}),
        (("person",), {"Person"}),
    ],
)
def test_types_match_by_own_name_or_alias_in_any_case(asked: tuple[str, ...] | None, kinds: set[str]) -> None:
    assert matching_kinds(asked, KINDS) == kinds


def test_a_graph_whose_own_type_is_called_journal_is_understood() -> None:
    assert matching_kinds(("journal",), {"Journal", "note"}) == {"Journal"}


@pytest.mark.parametrize("asked", ["dream", "digest"])
def test_a_type_that_occurs_nowhere_is_refused_with_the_types_that_do(asked: str) -> None:
    with pytest.raises(InputError, match=f"node_types {asked}.*got: Person, semantic"):
        matching_kinds(("semantic", asked), {"semantic", "Person"})
