import hashlib
import json
import math

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from yocobench.bench.data import digest, read_manifest, subset_items
from yocobench.bench.data.images import CocoSplit, decode
from yocobench.datasets import images, render
from yocobench.schema import ImageData, Subset

QUIET = Progress(disable=True)


def params(source=None, **changes):
    given = {"source": None if source is None else str(source), "num_images": 12, "image_size_px": 64}
    return ImageData(**{**given, "heldout_fraction": 0.25, "seed": 0, **changes})


def tree(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def write_coco(folder, **changes):
    """Four 40 x 30 JPEG files, a box each; `changes` replaces top-level lists of the JSON."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for i in range(1, 5):
        Image.new("RGB", (40, 30), (60 * i, 0, 0)).save(folder / "images" / f"{i}.jpg", quality=90)
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in range(1, 5)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": 10 + i, "image_id": i, "category_id": 7 if i % 2 else 3, "bbox": [i, 2, 10, 5], "area": 50,
             "iscrowd": 0} for i in range(1, 5)
        ],
    } | changes  # fmt: skip
    (folder / "annotations" / "instances_all.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "data" / "images"
    return folder, images.build(params(), folder, QUIET)


# --- rendered ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_files_and_another_seed_others(rendered, tmp_path):
    folder, _ = rendered
    images.build(params(), tmp_path / "a", QUIET)
    images.build(params(seed=1), tmp_path / "b", QUIET)
    assert tree(tmp_path / "a") == tree(folder)
    assert tree(tmp_path / "b")["images/000000.jpg"] != tree(folder)["images/000000.jpg"]


@pytest.mark.slow
def test_the_files_do_not_depend_on_the_number_of_workers(tmp_path):
    given = params(num_images=images.SERIAL_BELOW + 10)
    images.build(given, tmp_path / "one", QUIET, num_workers=1)
    images.build(given, tmp_path / "three", QUIET, num_workers=3)
    assert tree(tmp_path / "one") == tree(tmp_path / "three")


def test_the_manifest_counts_what_is_there(rendered):
    folder, manifest = rendered
    assert (manifest.train_items, manifest.heldout_items, manifest.num_categories) == (9, 3, 80)
    train, heldout = (json.loads((folder / f"{name}.json").read_text()) for name in ("train", "heldout"))
    assert manifest.train_annotations == len(train["annotations"])
    assert manifest.heldout_annotations == len(heldout["annotations"])
    in_both = [image["file_name"] for image in train["images"] + heldout["images"]]
    assert sorted(in_both) == [f"{i:06d}.jpg" for i in range(12)] == list(manifest.images_md5)
    assert [image["id"] for image in train["images"] + heldout["images"]] == list(range(1, 13))
    assert manifest.images_md5["000003.jpg"] == tree(folder)["images/000003.jpg"]
    assert read_manifest(folder) == manifest
    assert str(folder.parent) not in (folder / "manifest.json").read_text()


def test_there_are_eighty_classes_of_ten_shapes_and_eight_styles():
    assert len(set(render.CATEGORY_NAMES)) == 80
    assert render.CATEGORY_NAMES[0] == "red disc"
    assert render.CATEGORY_NAMES[79] == "checked crescent"
    assert all(math.hypot(x, y) < 1.42 for outline in render.SHAPES.values() for x, y in outline)


def test_every_image_has_one_to_eight_objects_inside_it():
    aspects = set()
    for index in range(30):
        image = render.render(0, index, 96)
        assert max(image.width, image.height) == 96
        assert 1 <= len(image.objects) <= 8
        aspects.add((image.width, image.height))
        for found in image.objects:
            left, top, width, height = found.bbox
            assert 0 <= left < left + width <= image.width
            assert 0 <= top < top + height <= image.height
            assert 0 < found.area <= width * height
            assert 1 <= found.category_id <= 80
    assert len(aspects) >= 5


def test_the_box_holds_the_visible_pixels_and_a_hidden_object_has_none():
    pixels = np.zeros((10, 12), dtype=bool)
    pixels[3:5, 2:9] = True
    assert render._visible(pixels, 4, drawn_area=40) == render.Visible(4, (2, 3, 7, 2), 14)  # 35 % is visible
    assert render._visible(pixels, 4, drawn_area=48) is None  # 29 %
    assert render._visible(np.zeros((10, 12), dtype=bool), 4, drawn_area=40) is None


def test_an_object_has_its_colour_where_its_box_is():
    # In single-object images of a plain saturated style the middle of the box of a disc has the style's strongest
    # channel on top.
    strongest = {"red": 0, "green": 1, "blue": 2}
    seen = 0
    for index in range(2000):
        rng = np.random.default_rng([0, index])
        canvas = np.full((64, 64, 3), 128, dtype=np.uint8)
        category_id, _ = render._draw_object(rng, canvas, owner := np.zeros((64, 64), dtype=np.uint8), 1)
        style, shape = render.CATEGORY_NAMES[category_id - 1].split()
        if shape == "disc" and style in strongest:
            assert int(canvas[owner == 1].mean(axis=0).argmax()) == strongest[style]
            seen += 1
        if seen == 5:
            break
    assert seen == 5


# --- reading ----------------------------------------------------------------------------------------------------


def test_a_split_is_read_with_corners_and_labels_from_zero(tmp_path):
    images.build(params(write_coco(tmp_path / "own"), heldout_fraction=0.25), tmp_path / "out", QUIET)
    train = CocoSplit.open(tmp_path / "out", "train", None)
    heldout = CocoSplit.open(tmp_path / "out", "heldout", None)
    assert train.category_names == ["dog", "cat"]  # by id: 3, 7
    assert (len(train.paths), len(heldout.paths)) == (3, 1)
    assert train.sizes_wh.tolist() == [[40, 30]] * 3
    for split in (train, heldout):
        for path, boxes, labels in zip(split.paths, split.boxes, split.labels, strict=True):
            i = int(path.stem)
            assert boxes.tolist() == [[i, 2, i + 10, 7]]
            assert boxes.dtype == np.float32
            assert labels.tolist() == [i % 2]
            assert decode(path).shape == (30, 40, 3)


def test_a_subset_is_a_prefix_of_the_seeded_order(rendered):
    folder, _ = rendered
    whole, part = CocoSplit.open(folder, "train", None), CocoSplit.open(folder, "train", 4)
    assert part.paths == whole.paths[:4]
    assert [boxes.tolist() for boxes in part.boxes] == [boxes.tolist() for boxes in whole.boxes[:4]]
    with pytest.raises(ValueError, match=r"train\.json has 9 images; 10 are asked for"):
        CocoSplit.open(folder, "train", 10)


def test_crowds_are_left_out_and_boxes_clipped(tmp_path):
    objects = [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [-0.5, 29, 10, 1.75], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ]
    images.build(params(write_coco(tmp_path / "own", annotations=objects)), tmp_path / "out", QUIET)
    splits = [CocoSplit.open(tmp_path / "out", name, None) for name in ("train", "heldout")]
    assert [boxes.tolist() for split in splits for boxes in split.boxes if len(boxes)] == [[[0, 29, 9.5, 30]]]
    assert all(boxes.shape == (len(boxes), 4) for split in splits for boxes in split.boxes)


def test_a_damaged_image_is_named_when_it_is_decoded(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.jpg")
    assert decode(tmp_path / "a.jpg", (16, 16)).shape == (16, 16, 3)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.jpg cannot be decoded: image file is truncated"):
        decode(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"b\.jpg does not exist"):
        decode(tmp_path / "b.jpg")


def test_a_missing_or_cut_annotation_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="dvc repro dataset@images"):
        CocoSplit.open(tmp_path, "train", None)
    (tmp_path / "train.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"train\.json is cut short or not JSON at byte 12 of 12"):
        CocoSplit.open(tmp_path, "train", None)


# --- the user's own ---------------------------------------------------------------------------------------------


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


# --- subsets ----------------------------------------------------------------------------------------------------


def test_a_subset_larger_than_the_dataset_is_refused(rendered):
    _, manifest = rendered
    assert subset_items(manifest, Subset(name="all", fraction=1.0)) == 9
    with pytest.raises(ValueError, match="subset 'big' asks for 10 images; data/images has 9"):
        subset_items(manifest, Subset(name="big", items={"images": 10}))


def test_the_digest_changes_with_what_the_subset_reads_and_with_nothing_else(tmp_path):
    folder = tmp_path / "images"
    images.build(params(), folder, QUIET)
    of_four, of_all = digest("images", folder, 4), digest("images", folder, 9)
    assert of_four != of_all
    train = json.loads((folder / "train.json").read_text())
    last = train["images"][-1]["id"]
    train["annotations"] = [a for a in train["annotations"] if a["image_id"] != last]
    (folder / "train.json").write_text(json.dumps(train))
    assert digest("images", folder, 4) == of_four
    assert digest("images", folder, 9) != of_all
