"""The live page in a real browser: a person logs in, watches a print, signs it off. Nothing is fetched from outside."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from tests.conftest import need
from tests.servers import program
from tests.support.farm import GCODE, RealFarm, real_farm, until
from tests.support.models import box_3mf, box_stl

SECONDS = 60_000


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFarm]:
    folder = tmp_path_factory.mktemp("page")
    # Nobody is asked for it; the printer's own limits refuse it.
    known = {"PRINTFARM_ALLOWED_COMMANDS": "G54"}
    with real_farm(folder, printer_count=2, time_scale=60.0, environment=known) as made:
        yield made


@pytest.fixture(scope="module")
def browser(farm: RealFarm) -> Iterator[Browser]:
    # After the farm: the browser's library keeps an event loop running in this thread.
    need("chromium")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        made = playwright.chromium.launch(executable_path=program("chromium"), args=options)
        yield made
        made.close()


@pytest.fixture
def page(farm: RealFarm, browser: Browser) -> Iterator[Page]:
    """The page, opened. What it asks of others than the gateway, or complains of, fails the test."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{farm.ports['gateway']}")
    made = context.new_page()
    made.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    outside: list[str] = []
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        # What is refused is told by the browser itself; and ReDoc's own logo, by our policy, is not fetched.
        told = any(word in message.text for word in ("401", "409", "cdn.redoc.ly"))
        if message.type == "error" and not told and "/thumbnail?" not in message.location["url"]:
            complaints.append(message.text)

    def note(request: Request) -> None:
        blocked = (request.failure or "") == "csp"
        if not blocked and not request.url.startswith(("data:", "blob:", f"http://127.0.0.1:{farm.ports['gateway']}/")):
            outside.append(f"{request.url} {request.failure}")

    made.on("requestfinished", note)
    made.on("requestfailed", note)
    made.on("console", complain)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.goto("/")
    yield made
    context.close()
    assert outside == []
    assert complaints == []


def store(farm: RealFarm, content: bytes, name: str) -> str:
    """A file of that name, without a job."""
    order = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "name": name}
    with farm.client() as client:
        upload = client.post("/api/v1/uploads", json=order).json()["upload_id"]
        headers = {"Upload-Offset": "0", "Content-Type": "application/octet-stream"}
        assert client.patch(f"/api/v1/uploads/{upload}", content=content, headers=headers).status_code == 200
        assert client.post(f"/api/v1/uploads/{upload}/finish").status_code == 200
    return name


def log_in(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Open").click()


def test_a_wrong_key_is_told_and_kept_nowhere(page: Page) -> None:
    log_in(page, "pf_wrong")
    expect(page.get_by_role("alert")).not_to_be_empty()
    assert page.evaluate("sessionStorage.length") == 0
    assert page.evaluate("localStorage.length") == 0


def test_a_print_from_the_queue_to_the_sign_off(page: Page, farm: RealFarm) -> None:
    log_in(page, farm.key)
    expect(page.locator("#live")).to_have_text("live")
    job_id = farm.submit("<b>bracket</b>", quantity=1)
    # Live: nobody reloads. And a name is text, never markup.
    row = page.locator("#jobs tr").filter(has_text="<b>bracket</b>")
    expect(row).to_be_visible()
    run = farm.wait_run(job_id, "finished")
    card = page.locator("#hands .card").filter(has_text=f"off {run['printer_id']}")
    expect(card).to_contain_text("finished")
    farm.printers.admin("clear_plate", int(run["printer_id"].removeprefix("p")))
    card.get_by_role("button", name="Sign off, bed clear").click()
    expect(row).to_contain_text("completed")
    expect(row).to_contain_text("1 of 1")
    assert farm.status(job_id)["state"] == "completed"
    expect(page.locator("#events")).to_contain_text("job.completed")


def test_a_stop_asks_first_and_latches_until_it_is_released(page: Page, farm: RealFarm) -> None:
    log_in(page, farm.key)
    asked: list[str] = []

    def accept(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    card = page.locator("#printers .card").filter(has=page.locator("h3", has_text="p1"))
    page.once("dialog", lambda dialog: dialog.dismiss())
    card.get_by_role("button", name="Emergency stop").click()
    expect(card.get_by_role("button", name="Hold")).to_be_visible()
    page.on("dialog", accept)
    card.get_by_role("button", name="Emergency stop").click()
    expect(card).to_contain_text("emergency stopped")
    card.get_by_role("button", name="Release").click()
    expect(card).not_to_contain_text("emergency stopped")
    assert len(asked) == 2


def test_a_viewer_sees_and_cannot_touch(page: Page, farm: RealFarm) -> None:
    made = farm.post("/api/v1/keys", {"name": "wall", "role": "viewer"})
    assert made.status_code == 201, made.text
    log_in(page, made.json()["secret"])
    expect(page.locator("#printers .card")).to_have_count(2)
    expect(page.locator("#who")).to_contain_text("viewer")
    expect(page.locator("#farm").get_by_role("button")).to_have_count(0)


def test_what_failed_says_why_and_a_waiting_job_says_what_it_waits_for(page: Page, farm: RealFarm) -> None:
    log_in(page, farm.key)
    # The printer may have been stopped before: a person resets the machine, and says that its bed is clear.
    farm.printers.admin("reset", 1)
    farm.printers.admin("clear_plate", 1)
    until(lambda: (farm.try_get("/api/v1/printers/p1") or {}).get("state") == "idle", why="it is there again")
    farm.post("/api/v1/printers/p1/release")
    farm.post("/api/v1/printers/p1/bed/clear")
    bad = farm.submit("shifted", gcode=GCODE.replace(b"G28\n", b"G28\nG54\n"), requirements={"printer_ids": ["p1"]})
    farm.submit("too hot", gcode=GCODE.replace(b"S200", b"S400"))
    farm.submit("vase", requirements={"min_build_volume": {"x_mm": 1, "y_mm": 1, "z_mm": 900}})
    why = "G54 chooses coordinates: whether moves stay inside cannot be told"
    expect(page.locator("#failures")).to_contain_text(f"shifted on p1line 3: {why}")
    expect(page.locator("#jobs tr").filter(has_text="shifted")).to_contain_text(why)
    expect(page.locator("#jobs tr").filter(has_text="too hot")).to_contain_text(
        "No printer fits: the file asks 400 C of the hotend, at most 300 is allowed there"
    )
    vase = page.locator("#jobs tr").filter(has_text="vase")
    expect(vase).to_contain_text("No printer fits: wanted at least 1 x 1 x 900 mm")
    vase.locator("summary").click()
    expect(vase).to_contain_text("p0: wanted at least")
    farm.post(f"/api/v1/jobs/{bad}/cancel")
    runs = {run["run_id"] for run in farm.status(bad)["runs"]}
    assert runs and not runs & {start["run_id"] for start in farm.printers.starts(1)}


def test_files_are_shown_with_their_pictures_found_and_deleted(page: Page, farm: RealFarm) -> None:
    log_in(page, farm.key)
    job_id = farm.submit("with a picture", gcode=GCODE + b"M83\nG1 X50 Y50 Z20 E1\nG1 X90 E1\nG1 Y90 Z2 E1\nG1 X10\n")
    room = {"min_build_volume": {"x_mm": 1, "y_mm": 1, "z_mm": 900}}
    tall = farm.submit("tall", gcode=GCODE + b"; tall\n", file_name="tall.gcode", requirements=room)
    picture = page.locator("#jobs tr").filter(has_text="with a picture").locator("img.thumb")
    expect(picture).to_have_attribute("src", re.compile("^blob:"))
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    name = store(farm, box_stl(31, 17, 9), "<i>bracket</i>.stl")
    store(farm, box_3mf(8, 8, 8), "cube.3mf")
    card = page.locator("#files .card").filter(has=page.locator("h3", has_text=name))
    # Live, and read without anybody asking for it.
    expect(card).to_contain_text("31 × 17 × 9 mm")
    expect(card).to_contain_text("12 triangles · 4.7 cm³")
    card.scroll_into_view_if_needed()
    expect(card.locator("img")).to_have_attribute("src", re.compile("^blob:"))
    page.get_by_label("Name").fill("BRACKET")
    expect(page.locator("#files .card")).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    card.get_by_role("button", name="Delete").click()
    expect(page.locator("#files")).to_contain_text("No file fits.")
    page.get_by_label("Name").fill("")
    # What a job needs stays, and the page says why.
    needed = page.locator("#files .card").filter(has=page.locator("h3", has_text="tall.gcode"))
    needed.get_by_role("button", name="Delete").click()
    expect(page.locator("#toast")).to_contain_text(f"job {tall} need it")
    expect(needed).to_be_visible()
    for open_job in (job_id, tall):
        farm.post(f"/api/v1/jobs/{open_job}/cancel")


def test_what_the_safety_check_found_is_allowed_by_two_people(page: Page, farm: RealFarm) -> None:
    # Too tall for both printers: the next test finds them as they are.
    tall = {"min_build_volume": {"x_mm": 1, "y_mm": 1, "z_mm": 900}}
    job_id = farm.submit("bold", gcode=GCODE.replace(b"G28\n", b"G28\nM117 <b>hello</b>\n"), requirements=tall)
    log_in(page, farm.key)
    card = page.locator("#hands .card").filter(has_text="bold needs two people's word")
    expect(card).to_contain_text("line 3: M117 shows a text with markup in it")
    expect(card).to_contain_text("allowed by nobody yet")
    answers = iter(["seen, it is only bold"])
    page.once("dialog", lambda dialog: dialog.accept(next(answers)))
    card.get_by_role("button", name="Allow it").click()
    expect(card).to_contain_text("allowed by key/")
    expect(card.get_by_role("button", name="Take my word back")).to_be_visible()
    made = farm.post("/api/v1/keys", {"name": "second", "role": "operator"}).json()
    with farm.client() as client:
        second = {"X-API-Key": made["secret"]}
        answer = client.post(f"/api/v1/jobs/{job_id}/overrides", json={"reason": "me, too"}, headers=second)
    assert answer.status_code == 200, answer.text
    expect(card).to_have_count(0)
    farm.post(f"/api/v1/jobs/{job_id}/cancel")


def test_drawing_anew_leaves_the_focus_where_it_is(page: Page, farm: RealFarm) -> None:
    log_in(page, farm.key)
    button = (
        page.locator("#printers .card").filter(has=page.locator("h3", has_text="p1")).get_by_role("button", name="Hold")
    )
    button.focus()
    # The page is drawn anew when something happens, and the card itself changes.
    assert farm.post("/api/v1/printers/p0/hold", {"reason": "cleaning"}).status_code == 200
    expect(page.locator("#printers")).to_contain_text("cleaning")
    with farm.client() as client:
        changed = client.patch("/api/v1/printers/p1", json={"colour": "mauve"})
    assert changed.status_code == 200, changed.text
    expect(page.locator("#printers")).to_contain_text("mauve")
    assert page.evaluate("document.activeElement.dataset.key") == "Hold:p1"
    farm.post("/api/v1/printers/p0/release")


def test_a_bad_part_asks_what_is_wrong_and_is_printed_again(page: Page, farm: RealFarm) -> None:
    log_in(page, farm.key)
    job_id = farm.submit("bracket with a bad part")
    run = farm.wait_run(job_id, "finished")
    card = page.locator("#hands .card").filter(has_text=f"off {run['printer_id']}")
    farm.printers.admin("clear_plate", int(run["printer_id"].removeprefix("p")))
    page.once("dialog", lambda dialog: dialog.accept("stringing"))
    card.get_by_label("good parts").fill("0")
    card.get_by_role("button", name="Sign off, bed clear").click()
    expect(page.locator("#failures")).to_contain_text("stringing")
    until(lambda: len(farm.status(job_id)["runs"]) == 2)
    farm.post(f"/api/v1/jobs/{job_id}/cancel")


def test_on_a_narrow_screen_nothing_overflows(page: Page, farm: RealFarm, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    log_in(page, farm.key)
    expect(page.locator("#printers .card")).to_have_count(2)
    page.screenshot(path=str(tmp_path / "narrow.png"), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_documentation_without_the_internet(page: Page) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    page.goto("/redoc")
    expect(page.locator("[data-section-id], .api-content").first).to_be_visible()
