"""The page at /, in a real browser: what it shows is right, it keeps to itself, and everybody can use it.

RN_SCREENSHOTS=DIR keeps what the page looks like.
"""
import base64
import concurrent.futures
import os
import pathlib
import sys
import threading

import pytest
import requests

from client import PICTURES, PREDICT, ROOT, picture

sys.path.insert(0, str(ROOT / "tests/support"))
from chromium import Chromium  # noqa: E402

pytestmark = pytest.mark.speed
FILES = ("/", "/page/page.css", "/page/page.js", "/page/icon.svg")
CLASSES = "[...document.querySelectorAll('#classes b')].map(b => b.textContent)"


@pytest.fixture(scope="module")
def page(server):
    with Chromium(server.url + "/") as chromium:
        chromium.wait("!document.getElementById('model').disabled && document.querySelector('#models td.good') !== null")
        yield chromium


def settled(page, label):
    """The classes, once the answer to the latest call is shown."""
    return page.wait(f"document.getElementById('answer').getAttribute('aria-busy') === 'false' && {CLASSES}[0] === '{label}' && {CLASSES}")


def keep(page, name):
    if os.environ.get("RN_SCREENSHOTS"):
        page.screenshot(pathlib.Path(os.environ["RN_SCREENSHOTS"]) / f"{name}.png")


def canvas_pixels(page):
    return page.evaluate("document.getElementById('heat').hidden ? null : document.getElementById('heat').toDataURL()")


def test_what_is_served(page):
    assert page.text("#model option").startswith("fashion, newest")
    assert page.evaluate("[...document.querySelectorAll('#models td')].map(td => td.textContent)") == ["fashion", "1", "ready", "cpu", "fp32", "passed"]
    assert page.text("#health") == "ready on cpu fp32"


def test_a_dropped_picture(page, server):
    page.drop("#figure", PICTURES / "bag.jpg")
    wanted = requests.post(f"{server.url}{PREDICT}?topk=5", data=picture("bag.jpg"), headers={"Content-Type": "image/jpeg"}).json()["predictions"]
    assert settled(page, "Bag") == [c["label"] for c in wanted]
    assert page.text("#classes output") == f"{100 * wanted[0]['probability']:.1f} %"
    assert page.text("#curl") == (f"curl -H 'Content-Type: image/jpeg' --data-binary '@bag.jpg' '{server.url}/v1/models/fashion:explain?topk=5'")
    legend = page.evaluate("[...document.querySelectorAll('#timing-legend li')].map(li => li.textContent)")
    assert [text.split()[0] for text in legend] == ["reading", "decoding", "waiting", "computing", "writing", "network", "in"]


def test_the_heat_map(page):
    """It lies over the picture; another class has another one; the switch takes it away, by keyboard too."""
    page.choose("#file", PICTURES / "ankle_boot.png")
    settled(page, "Ankle boot")
    page.wait("!document.getElementById('heat').hidden")
    box = "(r => [r.x, r.y, r.width, r.height].map(Math.round))(document.getElementById('{}').getBoundingClientRect())"
    picture_box, heat_box = page.evaluate(box.format("figure")), page.evaluate(box.format("heat"))
    assert picture_box == heat_box
    first = canvas_pixels(page)
    page.evaluate("document.querySelectorAll('#classes button')[1].click()")
    page.wait("document.querySelectorAll('#classes button')[1]?.getAttribute('aria-pressed') === 'true'")
    assert canvas_pixels(page) not in (None, first)
    page.evaluate("document.getElementById('heat-on').focus()")
    page.key(" ", "Space", " ")
    assert page.evaluate("!document.getElementById('heat-on').checked") and canvas_pixels(page) is None
    page.key(" ", "Space", " ")
    assert canvas_pixels(page)


def test_a_pasted_picture(page):
    raw = base64.b64encode(picture("trouser.png")).decode()
    page.evaluate(f"""(() => {{ const data = new DataTransfer(), bytes = Uint8Array.from(atob("{raw}"), c => c.charCodeAt(0));
        data.items.add(new File([bytes], "pasted.png", {{type: "image/png"}}));
        dispatchEvent(new ClipboardEvent("paste", {{clipboardData: data}})); }})()""")
    settled(page, "Trouser")


def test_what_is_no_picture(page, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    page.choose("#file", tmp_path / "x.png")
    page.wait("!document.getElementById('message').hidden && document.getElementById('message').className === 'error'")
    assert "Unknown image file format" in page.text("#message")
    keep(page, "page-error")
    page.complaints[:] = [c for c in page.complaints if "400 (Bad Request)" not in c]  # the browser notes every answer of that kind
    page.choose("#file", PICTURES / "bag.jpg")
    settled(page, "Bag")


def test_live_figures_move(page, server):
    stop = threading.Event()

    def load():
        while not stop.is_set():
            requests.post(server.url + PREDICT, data=picture("bag.jpg"), headers={"Content-Type": "image/jpeg"})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(load) for _ in range(4)]
        try:
            page.wait("Number(document.getElementById('rate').textContent) > 20")
            figures = {name: page.text("#" + name) for name in ("p50", "p95", "p99", "batch")}
            keep(page, "load")
        finally:
            stop.set()
        for future in futures:
            future.result()
    assert all(text.endswith("ms") or text.endswith(" s") for name, text in figures.items() if name != "batch"), figures
    assert float(figures["batch"]) >= 1
    assert page.wait("document.querySelector('#spark .line').getAttribute('d').split('L').length > 2")


CONTRAST = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
                        return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || e.closest("[disabled]")) continue;
    const [a, b] = [luminance(rgb(getComputedStyle(e).color)), luminance(ground(e))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 30)]);
  }
  return found;
})()"""


def test_everybody_can_use_it(page, server):
    """Contrast of all text in both schemes, names of all controls, targets large enough to touch, no scrolling sideways on a phone."""
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme},
                                                          {"name": "prefers-reduced-motion", "value": "reduce"}])
        found = page.evaluate(CONTRAST)
        assert len(found) > 30
        assert [entry for entry in found if entry[0] < 4.5] == [], scheme
        page.choose("#file", PICTURES / "ankle_boot.png")
        settled(page, "Ankle boot")
        page.wait("document.getElementById('picture').complete")
        keep(page, f"page-{scheme}")
    controls = [n for n in page.call("Accessibility.getFullAXTree")["nodes"]
                if not n["ignored"] and n["role"]["value"] in ("button", "combobox", "switch", "textbox", "link", "image", "img", "table", "checkbox")]
    assert len(controls) > 10
    assert [n["role"]["value"] for n in controls if not n.get("name", {}).get("value")] == []
    page.resize(360, 740, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate("[...document.querySelectorAll('button, select, .button, .switch')]"
                          ".filter(e => e.offsetHeight && e.offsetHeight < 44).map(e => e.id)")
    assert small == []
    keep(page, "page-phone")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    page.resize(1200, 900)


def test_the_keyboard_reaches_everything(page):
    page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    reached = set()
    for _ in range(40):
        page.key("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.tagName"))
    assert {"skip", "model", "file", "camera", "heat-on", "copy"} <= reached


def test_it_keeps_to_itself(page, server):
    """No complaint of the browser during all of the above, and no request to anybody else."""
    assert page.complaints == []
    assert len(page.requests) > 10
    assert [url for url in page.requests if not url.startswith((server.url + "/", f"blob:{server.url}/"))] == []


def test_size_and_policy(server):
    answers = [requests.get(server.url + path) for path in FILES]
    assert [a.status_code for a in answers] == [200] * len(FILES)
    assert 10_000 < sum(len(a.content) for a in answers) < 100_000
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "style=" not in answers[0].text and "<style" not in answers[0].text and "onclick" not in answers[0].text


def test_without_a_page(start_server, server):
    """What TensorFlow Serving's HTTP library says; and beside the page, everywhere else, too."""
    missing = requests.get(server.url + "/index")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "text/html")
    plain = start_server(ROOT / "tests/data/fashion_resnet101", "--page=false")
    for path in FILES:
        answer = requests.get(plain.url + path)
        assert (answer.status_code, answer.text) == (404, missing.text)
    assert requests.post(server.url + "/").status_code == 404
    assert requests.get(server.monitoring_url + "/").status_code == 404
