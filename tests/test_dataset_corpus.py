"""The user's own text, a file, a folder or an S3 prefix: how it is cut, and how each mistake in it reads."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from dataset_cases import QUIET, write_corpus
from dataset_cases import text_params as params
from yocobench.datasets import corpus, text


def names(documents):
    return [document.name for document in documents]


def test_a_long_text_file_is_cut_at_blank_lines(tmp_path):
    paragraph = "y" * 9999 + "\n\n"
    (tmp_path / "a.txt").write_text(paragraph * 5)
    pieces = corpus.find(str(tmp_path / "a.txt")).documents
    assert names(pieces) == ["a.txt:0", "a.txt:30003"]  # three paragraphs of 10,001 fit into 32,768
    assert "".join(piece.text for piece in pieces) == paragraph * 5


def test_a_long_line_is_cut_at_the_limit(tmp_path):
    (tmp_path / "a.txt").write_text("z" * 40000)
    assert [len(piece.text) for piece in corpus.find(str(tmp_path / "a.txt")).documents] == [32768, 7232]


def test_jsonl_and_parquet_give_one_document_per_record(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jsonl").write_text('{"text": "one", "id": 1}\n\n{"text": ""}\n{"text": "zwei \\u00e4"}\n')
    pyarrow.parquet.write_table(pa.table({"text": ["three", None, "four"], "n": [1, 2, 3]}), tmp_path / "sub/b.parquet")
    (tmp_path / "notes.md").write_text("ignored")
    found = corpus.find(str(tmp_path))
    assert [(d.name, d.text) for d in found.documents] == [
        ("a.jsonl:1", "one"),
        ("a.jsonl:4", "zwei ä"),
        ("sub/b.parquet:0", "three"),
        ("sub/b.parquet:2", "four"),
    ]
    assert found.source == f"{tmp_path.name} (2 files)"


def invalid_utf8_parquet(path):
    values = pa.array([b"good", b"\xff bad"], type=pa.binary())
    column = pa.Array.from_buffers(pa.string(), 2, values.buffers())
    pyarrow.parquet.write_table(pa.table({"text": column}), path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a\.txt is empty at byte 0 of 0"),
        ("a.txt", b"  \n ", r"a\.txt is empty at byte 0 of 4"),
        ("a.txt", b"ok \xff", r"a\.txt is not UTF-8 at byte 3: 0xff"),
        ("a.txt", "caf\u00e9".encode()[:-1], r"a\.txt is not UTF-8 at byte 3: 0xc3"),  # cut inside a character
        ("a.jsonl", b'{"text": "a"}\n{"text": "b', r"a\.jsonl line 2, byte 14: cut short or not JSON"),
        ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}', r'line 2, byte 14: no string under "text" \(keys: txt\)'),
        ("a.jsonl", b"[1]\n", r'line 1, byte 0: no string under "text" \(a list\)'),
        ("a.jsonl", b'{"text": "a"}\n\xfe', r"a\.jsonl is not UTF-8 at byte 14: 0xfe"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl line 1, byte 0: lists within lists"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": "b \\ud800"}',
            r"line 2, byte 14: half a character, \\ud800, stands alone",
        ),
        ("a.jsonl", b"", r"a\.jsonl is empty"),
        ("a.parquet", b"", r"a\.parquet is empty"),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet is cut short or damaged \(16 bytes\)"),
        ("a.md", b"text", r"holds 1 files, none of them \.txt, \.jsonl, \.parquet"),
    ],
)
def test_bad_files_are_named_with_the_offset(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        corpus.find(str(tmp_path))


def test_bad_parquet_columns_are_named(tmp_path):
    pyarrow.parquet.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r'a\.parquet has no column "text"; its columns: body, n'):
        corpus.find(str(tmp_path))
    pyarrow.parquet.write_table(pa.table({"text": [[1]]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet is cut short or damaged"):
        corpus.find(str(tmp_path))
    invalid_utf8_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet is cut short or damaged .*UTF"):
        corpus.find(str(tmp_path))


def test_a_truncated_parquet_file_is_named(tmp_path):
    pyarrow.parquet.write_table(pa.table({"text": ["a" * 50] * 50}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.parquet is cut short"):
        corpus.find(str(tmp_path))


def test_a_source_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere' does not exist or holds no \.txt"):
        corpus.find(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="'ftq://x' cannot be listed"):
        corpus.find("ftq://x")


def test_a_file_that_vanishes_between_listing_and_reading_is_named(tmp_path, monkeypatch):
    write_corpus(tmp_path / "corpus")
    list_files = corpus._list_files

    def list_then_lose(source):
        listed = list_files(source)
        (tmp_path / "corpus" / "3.txt").unlink()
        return listed

    monkeypatch.setattr(corpus, "_list_files", list_then_lose)
    with pytest.raises(ValueError, match=r"3\.txt was listed and is gone now"):
        text.build(params(tmp_path / "corpus"), tmp_path / "data" / "text", QUIET)
    assert not (tmp_path / "data").exists()


def test_too_little_text_says_how_much_is_needed_and_leaves_nothing(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("one document")
    with pytest.raises(ValueError, match=r"1 document\(s\); at least 2 are needed"):
        text.build(params(tmp_path / "corpus"), tmp_path / "data" / "text", QUIET)
    (tmp_path / "corpus" / "b.txt").write_text("another document")
    with pytest.raises(ValueError, match=r"the training split has .* tokens; at least 2049 are needed"):
        text.build(params(tmp_path / "corpus"), tmp_path / "data" / "text", QUIET)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_corpus_on_s3_is_read(tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for key, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(key, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="texts")
        client.put_object(Bucket="texts", Key="v1/a.txt", Body=b"alpha")
        client.put_object(Bucket="texts", Key="v1/sub/b.jsonl", Body=json.dumps({"text": "beta"}).encode())
        found = corpus.find("s3://texts/v1")
        assert [(d.name, d.text) for d in found.documents] == [("a.txt:0", "alpha"), ("sub/b.jsonl:1", "beta")]
        assert found.source == "s3://texts/v1 (2 files)"
        with pytest.raises(ValueError, match=r"no-such-bucket/x' (cannot be listed|does not exist)"):
            corpus.find("s3://no-such-bucket/x")
    finally:
        server.stop()
