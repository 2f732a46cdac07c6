import base64
import hashlib
import io
import json
import os
import re
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from browser import browser, needs_chromium
from wsol.core.csv_rows import csv_text
from wsol.core.errors import InputError, MetadataError
from wsol.maps.overlay import score_colors
from wsol.plots.gallery import FIELDS, MAP_SIDE, SIDE, GalleryItem, read_verdicts, thumbnail, write_gallery

NASTY = [
    "</script><script>document.title = 'broken'</script>.jpg",
    "<!-- <script> .jpg",
    "<img src=x onerror=\"document.title = 'broken'\">.jpg",
    "a,b;c\td.jpg",
    'say "cheese".jpg',
    "two\nlines.jpg",
    "two\r\nlines.jpg",
    "{{ title }} {% raw %} &amp; &lt;.jpg",
    "лиса 狐狸 ثعلب 🦊.jpg",
    "=1+1.jpg",
    "\u2028\u202e\\u003c\\.jpg",
    " space.jpg ",
]
TITLE = "Foxes & <b>dogs</b>"


def row(file, **other):
    found = {"file": file, "width": 400, "height": 300, "label": "fox", "label_source": "predicted", "confidence": 0.5}
    found |= {"boxes": [{"box": [40, 30, 200.5, 150], "score": 0.9}], "expected_iou": 0.7, "reaches_50": 0.8}
    return found | {"ancestors": {"family": "Canidae"}, "top": [["fox", 0.5], ["dog", 0.25]], "warnings": []} | other


def item(file, photo=b"photo", overlay=b"map", **other):
    return GalleryItem(row(file, **other), photo, overlay)


class Page(HTMLParser):
    """The elements of a page, each as (tag, attributes, text within it)."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.elements[-1][2] += data

    def texts(self, tag, name=None):
        return [text for one, attributes, text in self.elements if one == tag and name in (None, attributes.get("class"))]

    def about(self):
        (text,) = [text for _, attributes, text in self.elements if attributes.get("id") == "about"]
        return json.loads(text)


def parsed(path):
    return Page(path.read_text(encoding="utf-8"))


def test_names_and_texts_stay_as_they_are_and_add_no_element(tmp_path):
    nasty = {"label": NASTY[0], "warnings": NASTY, "ancestors": dict(zip(NASTY, NASTY, strict=True))}
    items = [item(file, file.encode(), b"", **nasty) for file in NASTY]
    write_gallery(tmp_path / "nasty.html", NASTY[0], items)
    write_gallery(tmp_path / "plain.html", "plain", [item(str(number)) for number in range(len(NASTY))])
    nasty, plain = parsed(tmp_path / "nasty.html"), parsed(tmp_path / "plain.html")
    assert [json.loads(text) for text in nasty.texts("script", "row")] == [one.row for one in items]
    assert [base64.b64decode(text).decode() for text in nasty.texts("script", "photo")] == NASTY
    assert nasty.texts("title")[0] == nasty.texts("h1")[0] == NASTY[0]
    assert [(tag, attributes) for tag, attributes, _ in nasty.elements if tag != "meta"] == [
        (tag, attributes) for tag, attributes, _ in plain.elements if tag != "meta"
    ]


def test_the_page_refers_to_nothing_and_allows_nothing_but_its_own_style_and_script(tmp_path):
    write_gallery(tmp_path / "a.html", TITLE, [item("a.jpg")])
    page = parsed(tmp_path / "a.html")
    assert not [1 for _, attributes, _ in page.elements if {"src", "href", "srcset", "action", "style"} & set(attributes)]
    assert not [1 for _, attributes, _ in page.elements for name in attributes if name.startswith("on")]
    (policy,) = [one["content"] for tag, one, _ in page.elements if one.get("http-equiv") == "Content-Security-Policy"]
    (style,), (script,) = page.texts("style"), [text for tag, one, text in page.elements if (tag, one) == ("script", {})]
    assert "url(" not in style and "@import" not in style

    def allowed(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src {allowed(style)}",
        f"script-src {allowed(script)}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_same_gallery_gives_the_same_page_and_other_boxes_another_key(tmp_path):
    def key(name, **other):
        write_gallery(tmp_path / name, TITLE, [item("a.jpg"), item("b.jpg", **other)])
        return parsed(tmp_path / name).about()["key"]

    assert key("a.html") == key("b.html") != key("c.html", boxes=[])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_gallery_may_be_empty(tmp_path):
    write_gallery(tmp_path / "a.html", TITLE, [])
    assert parsed(tmp_path / "a.html").texts("script", "row") == []


def test_photos_are_written_as_they_come_and_not_kept(tmp_path):
    def peak(count):
        sizes = []

        def items():
            for number in range(count):
                (part,) = tmp_path.glob("*.tmp") or tmp_path.glob(".*.tmp")
                sizes.append(part.stat().st_size)
                yield item(f"{number}.jpg", os.urandom(200_000))

        tracemalloc.start()
        write_gallery(tmp_path / "a.html", TITLE, items())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sizes[-1] > (count - 2) * 200_000  # the photos before the last are in the file
        return most

    peak(2)  # what is made once: the template
    few, many = peak(5), peak(50)
    assert many < few + 500_000 < 5_000_000


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error):
    def items():
        yield item("a.jpg")
        raise error

    for before in (set(), {"a.html"}):
        with pytest.raises(InputError if isinstance(error, OSError) else error):
            write_gallery(tmp_path / "a.html", TITLE, items())
        assert set(os.listdir(tmp_path)) == before
        (tmp_path / "a.html").write_text("before")
    assert (tmp_path / "a.html").read_text() == "before"


@pytest.mark.parametrize(
    ("items", "error", "said"),
    [
        ([item("a.jpg"), item("a.jpg")], InputError, "gallery.html: 'a.jpg' comes twice; expected each photo once"),
        ([item("a\udcff.jpg")], InputError, r"gallery.html: not written: the file name 'a\udcff.jpg' cannot be encoded"),
        ([item("a.jpg", confidence=float("nan"))], ValueError, "Out of range float values"),
        ([GalleryItem({"file": "a.jpg"}, b"", b"")], ValueError, f"a row without {', '.join(FIELDS[1:])}"),
    ],
)
def test_what_a_page_cannot_show_is_refused(tmp_path, items, error, said):
    with pytest.raises(error, match=re.escape(said)):
        write_gallery(tmp_path / "gallery.html", TITLE, items)
    assert os.listdir(tmp_path) == []


def test_a_thumbnail_is_small_and_its_map_has_the_colors_of_the_scores():
    pixels = np.zeros((600, 800, 3), np.uint8)
    pixels[:, 400:] = 255
    rows, columns = np.mgrid[:224, :224] / 223
    score_map = (rows + columns) / 2
    photo, colors = (np.asarray(Image.open(io.BytesIO(one))) for one in thumbnail(Image.fromarray(pixels), score_map))
    assert photo.shape == (SIDE * 3 // 4, SIDE, 3) and photo[:, :120].max() < 10 and photo[:, 140:].min() > 245
    assert colors.shape == (MAP_SIDE, MAP_SIDE, 3)
    expected = score_colors(score_map)[::7, ::7].astype(int)
    found = np.asarray(Image.fromarray(colors).resize((224, 224)))[::7, ::7]
    assert np.abs(found - expected).mean() < 6


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (3, 2)])
def test_a_thumbnail_of_any_photo_is_never_larger(size):
    photo, overlay = thumbnail(Image.new("RGB", size), np.zeros(size[::-1]))
    for each, most in ((photo, SIDE), (overlay, MAP_SIDE)):
        opened = Image.open(io.BytesIO(each))
        assert min(opened.size) >= 1 and max(opened.size) <= min(most, max(size))
    assert thumbnail(Image.new("L", size), None) == (photo, b"")


def verdicts_of(path, text):
    path.write_bytes(text.encode())
    return read_verdicts(path)


EXPECTED = {file: ("accept", "reject")[number % 2] for number, file in enumerate(NASTY)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_verdicts_that_a_spreadsheet_saved_again_are_read(tmp_path, delimiter, start, end):
    quoted = [(file.replace('"', '""'), verdict) for file, verdict in EXPECTED.items()]
    rows = [f"file{delimiter}verdict", *(f'"{file}"{delimiter}{verdict}' for file, verdict in quoted), delimiter, "", ""]
    assert verdicts_of(tmp_path / "verdicts.csv", start + end.join(rows)) == EXPECTED


def test_verdicts_of_this_projects_own_writer_are_read(tmp_path):
    assert verdicts_of(tmp_path / "a.csv", csv_text([("file", "verdict"), *EXPECTED.items()])) == EXPECTED
    assert verdicts_of(tmp_path / "a.csv", '"file","verdict"\r\n') == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: ''; expected the header file,verdict"),
        ("file,label\na.jpg,accept\n", ":1: 'file,label'; expected the header file,verdict"),
        ("file,verdict\na.jpg,maybe\n", ":2: 'a.jpg,maybe'; expected a file and accept or reject"),
        ("file,verdict\na.jpg,\n", ":2: 'a.jpg,'; expected a file and accept or reject"),
        ("file,verdict\n,accept\n", ":2: ',accept'; expected a file and"),
        ('file,verdict\n"two\nlines",accept\na.jpg\n', ":4: 'a.jpg'; expected a file and"),
        ("file,verdict\na.jpg,accept\n\na.jpg,reject\n", ":4: 'a.jpg' again, after line 2; expected each file once"),
        ('file,verdict\na.jpg,accept\n"b.jpg,reject\nc.jpg,reject\n', ":3: unexpected end of data; expected quotes only"),
        ('file,verdict\n"a.jpg,accept\n"b.jpg",reject\n', ":2: ',' expected after '\"'; expected quotes only"),
    ],
)
def test_a_damaged_file_of_verdicts_is_refused_by_file_and_line(tmp_path, text, said):
    with pytest.raises(MetadataError, match=re.escape(f"{tmp_path / 'a.csv'}{said}")):
        verdicts_of(tmp_path / "a.csv", text)


def test_a_file_of_verdicts_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_verdicts(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes("file,verdict\nfüchsin.jpg,accept\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.csv: not UTF-8 text"):
        read_verdicts(tmp_path / "a.csv")


# In a browser.

MANY = 300


def many_items():
    photo, overlay = thumbnail(Image.new("RGB", (400, 300), "teal"), np.linspace(0, 1, 100).reshape(10, 10))
    for number in range(MANY):
        file = NASTY[number] if number < len(NASTY) else f"photo {number}.jpg"
        name = f"<b>class</b> {number % 20}"
        known = {"confidence": (number * 7 % 100) / 100, "expected_iou": (number * 3 % 50) / 50} if number % 10 else {}
        known = known or {"confidence": None, "expected_iou": None, "reaches_50": None, "boxes": []}
        groups = {"family": "Felidae" if number % 20 == 3 else "Canidae"}
        warned = ["<i>dark</i> photo"] if number % 6 == 0 else []
        yield item(file, photo, overlay, label=name, ancestors=groups, warnings=warned, **known)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    write_gallery(path, TITLE, many_items())
    return path


@pytest.fixture
def page(gallery, tmp_path):
    with browser(tmp_path) as page:
        page.size(1280, 800)
        page.open(gallery)
        yield page
        assert page.complaints == [] and set(page.requests) == {gallery.as_uri()}


def choose(page, **values):
    for name, value in values.items():
        page.run(f"""(() => {{ const field = document.querySelector('#filters [name="{name}"]'); field.value = "{value}";
          field.dispatchEvent(new Event("input", {{ bubbles: true }})); }})()""")
    page.frames()


def listed(page):
    """The rows of the whole list, in its order."""
    rows = [one.row for one in many_items()]
    return [rows[photo] for photo in page.run("shown")]


def told(page):
    return page.run("document.getElementById('left').textContent")


def current(page):
    return page.run("document.querySelector('.card.current .file').title")


def known_first(rows, name, down=False):
    known = [one[name] for one in rows if one[name] is not None]
    return sorted(known, reverse=down) + [None] * (len(rows) - len(known))


@needs_chromium
@pytest.mark.slow
def test_a_browser_sorts_and_filters(page):
    rows = [one.row for one in many_items()]
    assert page.run("document.title") == TITLE and page.run("document.querySelector('h1').textContent") == TITLE
    assert page.run("document.querySelectorAll('.card').length") < 60 < len(listed(page)) == MANY
    assert page.run("document.querySelectorAll('main b, main i').length") == 0
    for name in ("confidence", "expected_iou"):
        choose(page, sort=name)
        assert [one[name] for one in listed(page)] == known_first(rows, name)
        choose(page, order="-1")
        assert [one[name] for one in listed(page)] == known_first(rows, name, down=True)
        choose(page, order="1")
    choose(page, sort="label")
    assert [one["label"] for one in listed(page)] == [f"<b>class</b> {number}" for number in range(20) for _ in range(15)]
    choose(page, sort="file")
    numbers = [int(one["file"][6:-4]) for one in listed(page) if one["file"].startswith("photo ")]
    assert numbers == list(range(len(NASTY), MANY))

    def stay(test, **values):
        choose(page, **values)
        left = {one["file"] for one in listed(page)}
        assert left == {one["file"] for one in rows if test(one)} and 0 < len(left) < MANY
        assert page.run("document.getElementById('shown').textContent") == f"{len(left)} of {MANY} photos"
        page.run("document.getElementById('filters').reset()")
        page.frames()
        assert len(listed(page)) == MANY

    def between(name, low, high):
        return lambda one: one[name] is not None and low <= one[name] <= high

    stay(between("confidence", 0.3, 0.6), confidence_low="0.3", confidence_high="0.6")
    stay(between("expected_iou", 0.8, 1), expected_iou_low="0.8")
    stay(lambda one: one["warnings"], warnings="with")
    stay(lambda one: not one["warnings"], warnings="without")
    stay(lambda one: "lines" in one["file"], file="LINES")
    stay(lambda one: one["ancestors"]["family"] == "Felidae", **{"class": "felidae"})
    choose(page, **{"class": "felidae"})
    assert page.run("[...document.querySelectorAll('[name=label] option')].map((one) => one.textContent)") == [
        "all",
        "<b>class</b> 3 (15)",
    ]
    choose(page, **{"class": ""}, label="3")
    assert {one["label"] for one in listed(page)} == {"<b>class</b> 3"}
    choose(page, file="no such photo")
    assert listed(page) == [] and page.run("document.getElementById('none').offsetHeight") > 0


@needs_chromium
@pytest.mark.slow
def test_a_browser_takes_verdicts_by_key_and_button_and_saves_them(page, gallery):
    files = [one["file"] for one in listed(page)]
    assert current(page) == files[0] and told(page) == f"{MANY} left, 0 accepted, 0 rejected"
    page.press("Enter")  # nothing has the focus yet
    assert page.run("detail.open")
    page.press("Escape")
    page.frames()
    page.press(*"arar")
    assert current(page) == files[4] and told(page) == f"{MANY - 4} left, 2 accepted, 2 rejected"
    page.press("j", "j", "k", "ArrowRight", "ArrowLeft", "ArrowDown")
    columns = page.run("columns")
    assert current(page) == files[5 + columns] and columns > 2
    page.press("ArrowUp", "r", "u")
    assert current(page) == files[5] and told(page) == f"{MANY - 4} left, 2 accepted, 2 rejected"
    page.press("k", "k", "n")
    assert current(page) == files[4]
    page.press("m")
    assert page.run("getComputedStyle(document.querySelector('.overlay')).display") == "none"
    assert page.run("document.getElementById('map').getAttribute('aria-pressed')") == "false"
    page.press("?")
    assert page.run("document.getElementById('help').open")
    page.press("a", "Escape")  # behind the help nothing is judged
    page.frames()
    page.press("Enter")
    assert page.run("detail.open && document.getElementById('detail-file').textContent") == files[4]
    page.click("#detail .accept")
    page.press("r", "Escape")
    page.frames()  # a dialog that closes gives the focus back
    assert not page.run("detail.open") and told(page) == f"{MANY - 6} left, 3 accepted, 3 rejected"
    page.run("document.querySelector('[name=file]').focus()")
    page.press(*"ar")  # typed, no verdicts
    assert page.run("document.querySelector('[name=file]').value") == "ar" and told(page).startswith(f"{MANY - 6} left")
    page.press("Escape")
    page.run("document.getElementById('filters').reset()")
    page.frames()
    page.run("scrollTo(0, document.documentElement.scrollHeight)")
    page.frames()
    page.press("a")  # the current photo is not on screen: go to one that is, and judge nothing
    assert told(page).startswith(f"{MANY - 6} left") and files.index(current(page)) > MANY / 2
    page.run("scrollTo(0, 0)")
    page.frames()
    for number in range(6, len(NASTY)):
        page.run(f"scrollTo(0, {number // columns} * rowHeight)")
        page.frames()
        page.click(f'.card[data-photo="{page.run(f"shown[{number}]")}"] .{("accept", "reject")[number % 2]}')
    expected = {file: ("accept", "reject")[number % 2] for number, file in enumerate(files[: len(NASTY)])}
    page.open(gallery)  # kept over a reload
    assert told(page) == f"{MANY - 12} left, 6 accepted, 6 rejected"
    choose(page, verdict="reject")
    assert [one["file"] for one in listed(page)] == files[1:12:2]
    choose(page, verdict="left")
    assert len(listed(page)) == MANY - 12
    page.click("#download")
    path = page.downloaded("verdicts.csv")
    assert read_verdicts(path) == expected and set(NASTY) & set(expected)
    assert page.run("document.title") == TITLE


@needs_chromium
@pytest.mark.slow
def test_a_browser_that_keeps_nothing_says_so_and_still_saves(page, gallery):
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    page.call("Page.addScriptToEvaluateOnNewDocument", source=refuse)
    page.open(gallery)
    assert page.run("document.getElementById('notice').offsetHeight") > 0
    page.press("a")
    assert told(page) == f"{MANY - 1} left, 1 accepted, 0 rejected"
    page.click("#download")
    assert list(read_verdicts(page.downloaded("verdicts.csv")).values()) == ["accept"]


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize(("width", "columns"), [(1280, 5), (390, 2), (320, 1)])
def test_nothing_is_wider_than_the_screen_and_buttons_are_large_enough_for_a_thumb(page, gallery, width, columns):
    page.size(width, 800, mobile=width < 500)
    page.open(gallery)
    page.run("document.getElementById('controls').open = true")
    page.frames()
    assert page.run("document.documentElement.scrollWidth") == width - page.run("innerWidth - document.body.clientWidth")
    assert page.run("columns") == columns
    sizes = page.run("[...document.querySelectorAll('.card button, .bar button')].map((one) => one.offsetHeight)")
    assert min(sizes) >= 44
    page.run("[...document.querySelectorAll('.card .open')][1].click()")
    page.frames()
    assert page.run("detail.scrollWidth <= detail.clientWidth && detail.getBoundingClientRect().right <= innerWidth")
    unnamed = "(one) => !(one.textContent.trim() || one.ariaLabel || one.querySelector('[aria-label]'))"
    assert page.run(f"[...document.querySelectorAll('button')].filter({unnamed}).length") == 0


@needs_chromium
@pytest.mark.slow
def test_the_policy_stops_other_scripts_and_the_tests_would_see_it(gallery, tmp_path):
    changed = tmp_path / "changed.html"
    changed.write_text(gallery.read_text(encoding="utf-8").replace("</body>", "<script>document.title = ''</script></body>"))
    with browser(tmp_path) as page:
        page.open(changed)
        assert page.run("document.title") == TITLE
        assert any("Content Security Policy" in said for said in page.complaints)
