from __future__ import annotations

from tests.report.test_html import Page

from fit50.report.inspection import COLUMNS, inspection_text
from fit50.report.inspection_page import SHOWN, inspection_html, pictured
from fit50.spec.advice import PAPER
from fit50.spec.inspection import Advice, InputFacts, Inspection, Labels, Suspect, Twin

HOSTILE = "</style><b>&\"'${x}"
PIECE = Advice(advice="do this " * 30, evidence="3 of 7", technique="a technique", source="not the paper's")


def twin(number, exact=True, splits=("train", "val"), other="cat"):
    names = (f"train/{number}.png", f"val/{number}.png")
    return Twin(names=names, splits=splits, classes=("cat", other), exact=exact)


def suspect(name):
    return Suspect(
        name=name, split="val", given="cat", suggested="dog", given_probability=0.1, suggested_probability=0.9
    )


def made(classes=3, **changes):
    counts = {split: {f"class {i}": 10 + i for i in range(classes)} for split in ("train", "val", "test")}
    third = (1 / 3,) * 3
    image = InputFacts(
        name="image", height=32, width=32, formats={"JPEG": 30, "PNG": 3}, modes={"RGB": 33}, mean=third, std=third,
        input_mean=third, input_std=third, sampled=33, grey=False,
    )  # fmt: skip
    value = Inspection(
        data="photos", counts=counts, median=(480, 640), smallest=(1, 2), largest=(3000, 4000), inputs=(image,),
        network="resnet50", gmacs=4.089,
    )  # fmt: skip
    return value.model_copy(update=changes)


def test_the_text_says_what_matters():
    lines = inspection_text(made(), ()).splitlines()
    assert "images          99 of 3 classes: train 33, val 33, test 33" in lines
    assert "balance         1.2 to 1 (train: class 2 12, class 0 10)" in lines
    assert "height x width  median 480 x 640, from 1 x 2 to 3,000 x 4,000" in lines
    assert "image           JPEG 30, PNG 3; RGB 33" in lines
    assert "                at 32 x 32: mean 0.333 0.333 0.333, std 0.333 0.333 0.333" in lines
    assert "cost            4.09 GMACs (resnet50)" in lines
    assert "duplicates      none" in lines
    assert lines[-1] == "Nothing here asks for advice."


def test_the_paper_is_named_once_where_it_is_cited():
    cited = PIECE.model_copy(update={"source": "Zhao and Leong: " + "much that is on the page " * 9})
    lines = inspection_text(made(), (cited, cited, PIECE)).splitlines()
    assert lines.count("    a technique (Zhao and Leong)") == 2
    assert "    a technique (not the paper's)" in lines
    assert [line for line in lines if line.startswith("Zhao")] == [PAPER]
    assert PAPER not in inspection_text(made(), (PIECE,))


def test_of_many_files_the_first_are_named_and_leaks_before_others():
    twins = (*(twin(i, splits=("val", "val")) for i in range(4)), twin(7, exact=False, other="dog"))
    aside = tuple((f"{i}.jpg", "damaged") for i in range(4))
    text = inspection_text(made(twins=twins, set_aside=aside, shared_groups=5), ())
    assert "1 near across splits, 4 exact within a split" in text
    first = text[text.index("duplicates") :].splitlines()[1].strip()
    assert first == "val/7.png like train/7.png (val and train; dog and cat)"
    assert text.count("and 1 more") == 1
    assert text.count("and 2 more") == 1
    assert "groups          5 images" in text


def test_of_many_classes_the_rarest_are_listed():
    text = inspection_text(made(classes=30), ())
    assert "rarest 10 classes" in text
    assert "class 9 " in text
    assert "class 10 " not in text


def test_advice_comes_with_its_evidence_in_lines_of_bounded_length():
    text = inspection_text(made(), (PIECE, PIECE))
    assert text.count("    because: 3 of 7\n    a technique (not the paper's)") == 2
    assert " 2. do this" in text
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_suspects_are_named_with_both_classes():
    labels = Labels(model="m", known=False, n=50, agreement=90, suspects=tuple(suspect(f"{i}.png") for i in range(5)))
    text = inspection_text(made(labels=labels), ())
    assert "5 of 50 of val and test suspected by m, which agrees with 90.0 % of them; it is not known" in text
    assert "0.png (val): cat, rather dog" in text


def test_the_page_has_all_sections_and_pictures():
    labels = Labels(model="m", known=True, n=50, agreement=90, suspects=(suspect("val/9.png"),))
    found = made(twins=(twin(1),), labels=labels, set_aside=(("x.jpg", "damaged"),))
    assert pictured(found) == {"train/1.png", "val/1.png", "val/9.png"}
    page = Page(inspection_html(found, (PIECE,), dict.fromkeys(pictured(found), "data:image/png;base64,AAAA")))
    sections = [each["id"] for each in page.all(tag="section")]
    assert sections == ["advice", "images", "classes", "duplicates", "labels", "set-aside"]
    assert [each["alt"] for each in page.all(tag="img")] == ["val/1.png", "train/1.png", "val/9.png"]
    assert "Because: 3 of 7" in page.one(id="advice")["text"]
    assert "rather dog (90 %)" in page.one(id="labels")["text"]
    assert "damaged" in page.one(id="set-aside")["text"]


def test_the_page_of_clean_data():
    page = Page(inspection_html(made(), (), {}))
    for words in ("Nothing here asks for advice.", "Not looked for", "Every file is used."):
        assert words in page.one(tag="main")["text"]
    assert not page.all(tag="img")


def test_pictures_are_bounded():
    assert len(pictured(made(twins=tuple(twin(i) for i in range(100))))) == 2 * SHOWN


def test_text_cannot_become_markup():
    hostile = Twin(names=(HOSTILE, "b"), splits=("train", "val"), classes=(HOSTILE, "c"), exact=True)
    found = made(data=HOSTILE, twins=(hostile,), set_aside=((HOSTILE, HOSTILE),))
    page = Page(inspection_html(found, (PIECE.model_copy(update={"advice": HOSTILE}),), {HOSTILE: "data:,"}))
    assert not page.all(tag="b")
    assert page.one(tag="img")["alt"] == HOSTILE
    assert HOSTILE in page.one(id="advice")["text"]
