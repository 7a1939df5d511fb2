"""Rendered images, and reading a split. The user's own COCO folder: test_dataset_coco.py."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from dataset_cases import QUIET, tree, write_coco
from dataset_cases import image_params as params
from yocobench.bench.data import digest, read_manifest, subset_items
from yocobench.bench.data.images import CocoSplit
from yocobench.bench.data.jpeg import decode
from yocobench.datasets import images, render
from yocobench.schema import Subset


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
    assert decode(tmp_path / "a.jpg", reduction=4).shape == (16, 16, 3)
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
    for damaged in ("{}", "[]"):
        (folder / "train.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"train.json is damaged, .* make it again: dvc repro -f dataset@images"):
            digest("images", folder, 4)
