"""The user's own images, a COCO folder: what is taken, and how each mistake in it reads."""

import pytest
from PIL import Image

from dataset_cases import QUIET, write_coco
from dataset_cases import image_params as params
from yocobench.bench.data.jpeg import decode
from yocobench.datasets import images


def test_a_source_can_be_the_json_itself_or_a_coco_download(tmp_path):
    own = write_coco(tmp_path / "own")
    by_folder = images.build(params(own), tmp_path / "a", QUIET)
    by_file = images.build(params(own / "annotations" / "instances_all.json"), tmp_path / "b", QUIET)
    assert by_folder == by_file
    assert by_folder.source == "COCO images of instances_all.json"
    (own / "annotations" / "instances_all.json").rename(own / "annotations" / "instances_train2017.json")
    (own / "annotations" / "instances_val2017.json").write_text("{}")
    (own / "images").rename(own / "train2017")
    assert images.build(params(own), tmp_path / "c", QUIET).images_md5 == by_folder.images_md5


def test_at_most_num_images_are_taken_in_seeded_order(tmp_path):
    manifest = images.build(params(write_coco(tmp_path / "own"), num_images=3), tmp_path / "out", QUIET)
    assert (manifest.train_items, manifest.heldout_items) == (2, 1)
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


def test_all_annotation_problems_are_listed_at_once(tmp_path):
    def annotation(identity, **changes):
        return {"id": identity, "image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5]} | changes

    own = write_coco(tmp_path / "own", annotations=[
        annotation(1, bbox=[30, 0, 20, 5]),
        annotation(2, bbox=[0, -3, 5, 5]),
        annotation(3, bbox=[0, 0, -1, 5]),
        annotation(4, bbox=[0, 0, 5]),
        annotation(5, bbox=[0, 0, 5, float("nan")]),
        annotation(6, category_id=99),
        annotation(7, image_id=42),
        annotation(8),
        annotation(8),
        {"image_id": 1},
    ])  # fmt: skip
    with pytest.raises(ValueError, match="instances_all") as caught:
        images.build(params(own), tmp_path / "data" / "images", QUIET)
    assert str(caught.value).splitlines() == [
        "instances_all.json: 9 problem(s)",
        "  annotation 1: bbox [30, 0, 20, 5] lies outside its image of 40 x 30 pixels",
        "  annotation 2: bbox [0, -3, 5, 5] lies outside its image of 40 x 30 pixels",
        "  annotation 3: bbox [0, 0, -1, 5] has a negative width or height",
        "  annotation 4: bbox [0, 0, 5] is not four numbers: left, top, width, height",
        "  annotation 5: bbox [0, 0, 5, nan] is not finite",
        "  annotation 6: category_id 99 is not among the categories",
        "  annotation 7: image_id 42 is not among the images",
        "  annotation 8: the id is used twice",
        "  annotations[9]: no whole number under id",
    ]
    assert not (tmp_path / "data").exists()


def test_boxes_without_extent_are_left_out_and_named_as_in_real_coco(tmp_path, capsys):
    flat = {"id": 7, "image_id": 1, "category_id": 3, "bbox": [3, 3, 0, 5]}
    own = write_coco(tmp_path / "own", annotations=[flat, flat | {"id": 8, "bbox": [3, 3, 2, 5]}])
    manifest = images.build(params(own), tmp_path / "out", QUIET)
    assert manifest.train_annotations + manifest.heldout_annotations == 1
    assert "1 box(es) without width or height are left out: annotation 7" in capsys.readouterr().out


def test_only_ten_problems_are_shown_and_the_others_counted(tmp_path):
    bad = [{"id": i, "image_id": 42, "category_id": 3, "bbox": [0, 0, 5, 5]} for i in range(13)]
    with pytest.raises(ValueError, match="13 problem") as caught:
        images.build(params(write_coco(tmp_path / "own", annotations=bad)), tmp_path / "out", QUIET)
    assert len(str(caught.value).splitlines()) == 12
    assert str(caught.value).endswith("  and 3 more")


def image_entry(**changes):
    return {"id": 1, "file_name": "1.jpg", "width": 40, "height": 30} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "list of images has no entry"),
        ({"annotations": []}, "list of annotations has no entry"),
        ({"categories": {}}, "no list of objects under 'categories'"),
        ({"images": [image_entry(), image_entry(file_name="2.jpg")]}, "image 1: the id is used twice"),
        ({"images": [image_entry(), image_entry(id=2)]}, r"image 2: file_name 1\.jpg is used twice"),
        ({"images": [image_entry(file_name="../1.jpg")]}, "leads out of the images' folder"),
        ({"images": [image_entry(width=0)]}, "image 1: width is 0, not a positive whole number"),
        ({"images": [image_entry(id="1")]}, r"images\[0\]: no whole number under id"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}, "category 3: the id is used twice"),
        ({"images": [image_entry(), image_entry(id=2, file_name="9.jpg")]}, r"image 2: file 9\.jpg is missing"),
        ({"images": [image_entry(file_name="9.jpg")]}, r"image 1: file 9\.jpg is missing; looked in annotations/"),
    ],
)
def test_a_bad_instances_file_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        images.build(params(write_coco(tmp_path / "own", **changes)), tmp_path / "out", QUIET)


def test_damaged_images_are_all_named_and_nothing_is_left(tmp_path):
    own = write_coco(tmp_path / "own")
    whole = (own / "images" / "1.jpg").read_bytes()
    (own / "images" / "1.jpg").write_bytes(whole[:-30])
    (own / "images" / "2.jpg").write_bytes(b"")
    Image.new("RGB", (40, 30)).save(own / "images" / "3.jpg", "PNG")
    Image.new("RGB", (30, 40)).save(own / "images" / "4.jpg", "JPEG")
    with pytest.raises(ValueError, match=r"4 problem\(s\)") as caught:
        images.build(params(own), tmp_path / "data" / "images", QUIET)
    message = str(caught.value)
    assert f"1.jpg ({len(whole) - 30} bytes) is not a whole JPEG file: image file is truncated" in message
    assert "2.jpg is empty" in message
    assert "3.jpg is PNG, not JPEG" in message
    assert "4.jpg is 30 x 40 pixels; its annotation says 40 x 30" in message
    assert list((tmp_path / "data").iterdir()) == []


def test_a_phones_jpeg_with_a_second_image_behind_it_is_taken_and_its_first_is_what_the_loader_sees(tmp_path):
    own = write_coco(tmp_path / "own")
    red, preview = Image.new("RGB", (40, 30), (250, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 250))
    red.save(own / "images" / "1.jpg", "MPO", save_all=True, append_images=[preview])
    with Image.open(own / "images" / "1.jpg") as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    images.build(params(own), tmp_path / "out", QUIET)
    pixels = decode(tmp_path / "out" / "images" / "1.jpg")
    assert pixels.shape == (30, 40, 3)
    assert (pixels.mean(axis=(0, 1)) // 100).tolist() == [2, 0, 0]


def test_an_image_that_is_no_image_is_named(tmp_path):
    own = write_coco(tmp_path / "own")
    (own / "images" / "2.jpg").write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match=r"2\.jpg \(100 bytes\) is not a whole JPEG file: cannot identify image file"):
        images.build(params(own), tmp_path / "out", QUIET)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no annotations/instances_\*\.json"),
        ({"instances_a.json": b"{}", "instances_b.json": b"{}"}, r"has instances_a\.json, instances_b\.json: give one"),
        ({"instances.json": b'{"images": [\xff'}, r"instances\.json is not UTF-8 at byte 12: 0xff"),
        ({"instances.json": b'{"images": [{'}, r"instances\.json is cut short or not JSON at byte 13 of 13"),
        ({"instances.json": b""}, r"instances\.json is empty at byte 0 of 0"),
    ],
)
def test_a_folder_without_one_good_json_is_refused(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        images.build(params(tmp_path), tmp_path / "out", QUIET)


def test_a_source_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere' does not exist"):
        images.build(params(tmp_path / "nowhere"), tmp_path / "out", QUIET)


def test_one_image_is_too_few(tmp_path):
    with pytest.raises(ValueError, match=r"gives 1 image\(s\); at least 2 are needed"):
        images.build(params(num_images=1), tmp_path / "out", QUIET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": [1]}, r"annotation 1: image_id \[1\] is not among the images"),
        ({"category_id": {}}, r"annotation 1: category_id \{\} is not among the categories"),
        ({"bbox": [0, 0, 10**400, 5]}, r"annotation 1: bbox .* is not finite"),
        ({"iscrowd": "yes"}, "annotation 1: iscrowd is 'yes', neither 0 nor 1"),
        ({"iscrowd": 1}, "instances_all.json: not one box to find"),
        ({"bbox": [0, 0, 0, 5]}, "instances_all.json: not one box to find"),
    ],
)
def test_an_annotation_of_no_use_is_named(tmp_path, changes, message):
    own = write_coco(
        tmp_path / "own", annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5]} | changes]
    )
    with pytest.raises(ValueError, match=message):
        images.build(params(own), tmp_path / "data" / "images", QUIET)


@pytest.mark.parametrize("name", ["", "a" * 256 + ".jpg"])
def test_a_file_name_that_no_file_can_have_is_named(tmp_path, name):
    row = {"id": 1, "file_name": name, "width": 40, "height": 30}
    own = write_coco(tmp_path / "own", images=[row], annotations=[{"id": 1}])
    with pytest.raises(ValueError, match=r"image 1: file_name '.*' is no name that a file can have"):
        images.build(params(own), tmp_path / "data" / "images", QUIET)


def test_json_too_deep_to_be_read_is_named(tmp_path):
    own = write_coco(tmp_path / "own")
    (own / "annotations" / "instances_all.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"instances_all\.json has lists within lists"):
        images.build(params(own), tmp_path / "data" / "images", QUIET)
