"""What tables call a folder of pictures, whose name in records is of its images."""

from __future__ import annotations

from made_records import record

from reports.frames.names import Names


def test_a_folder_has_the_name_of_its_oldest_record_and_digits_if_two_have_one():
    def of(dataset, label, finished):
        return record(dataset=dataset).model_copy(update={"dataset_label": label, "finished": finished})

    old, new = of("folder:0123456789ab", "pets", "2026-01-01"), of("folder:0123456789ab", "moved", "2026-02-01")
    assert Names.of([new, old]).dataset("folder:0123456789ab") == "pets"
    names = Names.of([new, old, of("folder:ba9876543210", "pets", "2026-03-01"), of("mnist", "MNIST", "2026-03-01")])
    assert names.datasets == {
        **{f"folder:{digits}": f"pets ({digits})" for digits in ("0123456789ab", "ba9876543210")},
        "mnist": "MNIST",
    }
    assert Names.of([old, of("mnist", "pets", "2026-03-01")]).datasets == {
        old.spec.dataset: "pets (0123456789ab)",
        "mnist": "pets",
    }
