"""A page in a real browser: Debian's chromium without a screen, driven by selenium."""

import base64
import contextlib
import json
import shutil
import tempfile

import pytest

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1")  # fmt: skip
ABSENT = "chromium and chromedriver are not installed: apt-get install chromium chromium-driver"
needs_browser = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason=ABSENT)


@contextlib.contextmanager
def opened():
    """A driver of a browser with a profile of its own, which keeps what it asked for and said."""
    from selenium import webdriver

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        try:
            driver.get("about:blank")
            yield driver
        finally:
            driver.quit()


def show(driver, path, *, width=1440, height=900, scheme="light", medium=""):
    """Opens the file in a window of that width, in a light or dark scheme, or as printed."""
    sized = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sized)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})
    for log in ("performance", "browser"):
        driver.get_log(log)
    driver.get(path.resolve().as_uri())


def requests(driver):
    """The addresses asked for since this was last called, but for what is in the page itself."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events
            if e["method"] == "Network.requestWillBeSent"]  # fmt: skip
    return [url for url in sent if not url.startswith("data:")]


def complaints(driver):
    """What the browser's console says since this was last called."""
    return [entry["message"] for entry in driver.get_log("browser")]


def picture(driver, path):
    """The whole page as it looks, into a PNG file."""
    whole = {"format": "png", "captureBeyondViewport": True, "fromSurface": True}
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    whole["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    found = driver.execute_cdp_cmd("Page.captureScreenshot", whole)
    path.write_bytes(base64.b64decode(found["data"]))


def printed(driver, path):
    """The page as it is printed on A4, into a PDF file."""
    sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
    found = driver.execute_cdp_cmd("Page.printToPDF", sheet)
    path.write_bytes(base64.b64decode(found["data"]))
