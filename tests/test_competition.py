import numpy as np
import pandas as pd
import pytest

from configs.layouts import mask_unprinted
from configs.page import LEADS, SAMPLING_RATES
from data_preparation.make_folds import make_folds
from datasets.competition import (
    image_path,
    list_images,
    read_folds,
    read_record,
    read_sample_submission,
    read_test_table,
    read_train_table,
    record_path,
    write_folds,
    write_sample_submission,
    write_test_table,
    write_train_table,
)
from digitization.record_files import write_record
from utils.images import write_png


@pytest.mark.parametrize("fs", SAMPLING_RATES)
def test_a_record_reads_back_to_a_ten_thousandth_of_a_millivolt(tmp_path, fs):
    leads = mask_unprinted(np.random.default_rng(0).normal(size=(12, 10 * fs)).astype(np.float32))
    write_record(record_path(tmp_path, "7"), leads, fs)
    read = read_record(record_path(tmp_path, "7"))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, leads, atol=1e-4)


def test_a_record_of_another_length_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="2500 samples"):
        write_record(tmp_path / "7.csv", np.zeros((12, 2500)), 500)


def bad_records() -> dict[str, pd.DataFrame]:
    good = pd.DataFrame(np.ones((40, 12)), columns=list(LEADS))
    gap = good.copy()
    gap.loc[12, "aVL"] = np.nan  # aVL's own quarter is 10..19
    return {
        "column V3 missing": good.drop(columns="V3"),
        "column V6 twice": good.rename(columns={"V5": "V6"}).assign(V5=1.0),
        "no rows": good.iloc[:0],
        "infinite values in lead V1": good.assign(V1=np.inf),
        "lead aVL is blank": gap,
        "could not convert": good.assign(I="one"),
    }


@pytest.mark.parametrize("reason", bad_records())
def test_bad_records_are_named(tmp_path, reason):
    bad_records()[reason].to_csv(tmp_path / "7.csv", index=False)
    with pytest.raises(ValueError, match=rf"7\.csv: .*{reason}"):
        read_record(tmp_path / "7.csv")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (",".join(LEADS) + "\n" + "1," * 12 + "1\n", "rows of 13 fields under a header of 12"),
        (",".join(LEADS) + "\n" + "1" * 200_000, "field larger than field limit"),
    ],
)
def test_odd_csv_files_are_named(tmp_path, text, reason):
    (tmp_path / "7.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"7\.csv: .*{reason}"):
        read_record(tmp_path / "7.csv")


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"7\.csv: No such file"):
        read_record(tmp_path / "7.csv")
    (tmp_path / "7.csv").touch()
    with pytest.raises(ValueError, match=r"7\.csv: empty"):
        read_record(tmp_path / "7.csv")


def test_images_are_listed_with_record_and_type(tmp_path):
    for record, image_type in (("20", "0005"), ("3", "0012"), ("3", "0001")):
        write_png(image_path(tmp_path, record, image_type), np.zeros((2, 2, 3), np.uint8))
    write_png(tmp_path / "train/3/3-0001.debug.png", np.zeros((2, 2, 3), np.uint8))
    images = list_images(tmp_path)
    assert images["image_id"].tolist() == ["20-0005", "3-0001", "3-0012"]
    assert images["record"].tolist() == ["20", "3", "3"]
    assert images["type"].tolist() == ["0005", "0001", "0012"]
    assert all(path.exists() for path in images["path"])
    with pytest.raises(ValueError, match="no images"):
        list_images(tmp_path / "nowhere")


def test_the_train_table_keeps_ids_as_text(tmp_path):
    write_train_table(tmp_path, [("007", 500, 5000), ("8", 1025, 10250)])
    assert read_train_table(tmp_path)["id"].tolist() == ["007", "8"]
    write_train_table(tmp_path, [("8", 500, 5000), ("8", 500, 5000)])
    with pytest.raises(ValueError, match=r"train\.csv: 8 twice"):
        read_train_table(tmp_path)


def test_the_test_table_and_its_template(tmp_path):
    write_test_table(tmp_path / "test.csv", [("007", lead, 250, 3) for lead in LEADS])
    table = read_test_table(tmp_path / "test.csv")
    assert table["number_of_rows"].tolist() == [3] * 12
    write_sample_submission(tmp_path / "sample_submission.parquet", table)
    template = read_sample_submission(tmp_path / "sample_submission.parquet")
    assert template["id"].tolist()[:4] == ["007_0_I", "007_1_I", "007_2_I", "007_0_II"]
    assert not template["value"].any()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("1", "V7", 250, 3)], "V7"),
        ([("1", "I", 0, 3)], "fs"),
        ([("1", "I", 250, -3)], "number_of_rows"),
        ([("1", "I", 10**30, 3)], "fs"),
        ([("1", "I", 250, 10**13)], "number_of_rows"),
        ([("../1", "I", 250, 3)], "name of a file"),
        ([("1,2", "I", 250, 3)], "name of a file"),
        ([("a\nb", "I", 250, 3)], "name of a file"),
        ([("7" * 400, "I", 250, 3)], "name of a file"),
        ([("1", "I", 250, 3), ("1", "I", 250, 3)], "1 I twice"),
        ([("1", "I", 250, 3), ("1", "II", 500, 3)], "more than one fs"),
        ([("1", None, 250, 3)], "blank lead in row 1"),
        ([], "no rows"),
    ],
)
def test_bad_test_tables_are_refused(tmp_path, rows, reason):
    write_test_table(tmp_path / "test.csv", rows)
    with pytest.raises(ValueError, match=rf"test\.csv: .*{reason}"):
        read_test_table(tmp_path / "test.csv")


def test_folds_share_every_sampling_rate(tmp_path):
    rates = np.random.default_rng(0).choice(SAMPLING_RATES, 977)
    records = pd.DataFrame({"id": np.arange(977).astype(str), "fs": rates, "sig_len": 10 * rates})
    folds = make_folds(records, folds=5, seed=0)
    assert np.ptp(folds["fold"].value_counts()) <= 1
    assert (np.ptp(folds.groupby(["fs", "fold"]).size().unstack().to_numpy(), axis=1) <= 1).all()
    pd.testing.assert_frame_equal(folds, make_folds(records, folds=5, seed=0))
    assert (folds["fold"] != make_folds(records, folds=5, seed=1)["fold"]).any()
    write_folds(tmp_path, folds)
    pd.testing.assert_frame_equal(read_folds(tmp_path), folds, check_dtype=False)
